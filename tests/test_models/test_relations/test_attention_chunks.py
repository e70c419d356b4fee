"""How the pairs of an image are cut into pieces."""

import pytest
import torch

from mmdet_ext.models.relations import attention_chunks
from mmdet_ext.models.relations.attention_chunks import ImagePairs


@pytest.mark.parametrize(
    ('number', 'most', 'size'), [(10, 4, 4), (9, 4, 3), (4, 9, 4), (5, 0, 1), (0, 3, 1), (7, 7, 7)]
)
def test_pieces_are_about_as_large(number, most, size):
    assert attention_chunks._even(number, most) == size


@pytest.mark.parametrize('image', [0, 1, 2])
@pytest.mark.parametrize(('chunk', 'embedding'), [(2 * 4 * 3, 8 * 4 * 2), (1, 1), (999, 999)])
def test_every_query_is_in_one_part_of_one_chunk(image, chunk, embedding, monkeypatch):
    monkeypatch.setitem(attention_chunks.CHUNK, 'cpu', chunk)
    monkeypatch.setitem(attention_chunks.EMBEDDING, 'cpu', embedding)
    counts, key_counts = (7, 0, 2), (4, 3, 4)
    x = {'query': torch.rand(9, 2, 3), 'key': torch.rand(11, 2, 3), 'value': torch.rand(11, 2, 3)}
    rest = (torch.rand(2, 8), torch.rand(2, 9, 9), torch.rand(11, 9), torch.rand(9, 4) + 1, torch.rand(11, 2), None)
    pairs = ImagePairs(image, *x.values(), *rest, counts, key_counts, 'hu', 1000.0)
    seen = []
    for rows in pairs.chunks():
        assert pairs.scores(rows).numel() <= max(chunk, 2 * 4)
        for inside, part in pairs.parts(rows):
            assert pairs.embed(part).numel() <= max(embedding, 8 * 4)
            assert range(rows.start, rows.stop)[inside] == range(part.start, part.stop)
            seen += range(part.start, part.stop)
    assert seen == list(range(counts[image]))
    assert (pairs.rows, pairs.keys) == [
        (slice(0, 7), slice(0, 4)),
        (slice(7, 7), slice(4, 7)),
        (slice(7, 9), slice(7, 11)),
    ][image]
