"""The benchmark's textbook, and its two sides on few boxes."""

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.analysis.benchmarks import measure
from mmdet_ext.analysis.benchmarks.geometry_attention import (
    IMAGE,
    GeometryAttentionCase,
    random_boxes,
    textbook_attention,
)
from mmdet_ext.models.relations.geometry import box_geometry, sine_embedding


def test_boxes_are_in_the_range_that_is_named():
    boxes = random_boxes(500, torch.Generator().manual_seed(0))
    sides, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    assert 7 < sides.min() < 20
    assert 300 < sides.max() < 404
    assert (centres >= 0).all()
    assert (centres <= torch.tensor(IMAGE[::-1])).all()


def test_textbook_equals_a_loop():
    layer, boxes = torch.nn.Linear(16, 2), random_boxes(4, torch.Generator().manual_seed(0))
    query, key, value = torch.randn(3, 2, 4, 3)
    expected = torch.zeros(2, 4, 3)
    for head in range(2):
        for n in range(4):
            pairs = sine_embedding(box_geometry(boxes[n : n + 1], boxes), 16)[0]
            geometry = (pairs @ layer.weight[head] + layer.bias[head]).clamp(min=1e-6)
            weights = geometry * (key[head] @ query[head, n] / 3**0.5).exp()
            expected[head, n] = weights / weights.sum() @ value[head]
    assert_close(textbook_attention((query, key, value), boxes, layer), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('projections', [False, True])
def test_both_sides_agree(projections):
    case = GeometryAttentionCase(projections, number=20)
    ours, textbook = case.prepare(torch.device('cpu'), 0)
    case.check(ours(), textbook())
    assert ours()['out'].shape[0] == 20
    assert len(ours()) == (10 if projections else 6)


@pytest.mark.parametrize('name', ['out', 'weight'])
def test_a_difference_is_named(name):
    case = GeometryAttentionCase(number=20)
    ours, textbook = (run() for run in case.prepare(torch.device('cpu'), 0))
    ours[name] = ours[name] * 1.05
    with pytest.raises(ValueError, match=f'geometry-attention-20: {name} differs from the textbook by 5.0e-02'):
        case.check(ours, textbook)


def test_titles_and_targets():
    op, relation = GeometryAttentionCase(), GeometryAttentionCase(True)
    assert (op.name, op.speed, op.memory) == ('geometry-attention', 3, 1 / 8)
    assert (relation.name, relation.speed, relation.memory) == ('geometry-relation', None, None)


@pytest.mark.slow
def test_memory_is_measured_in_processes_of_their_own():
    extra = measure._measure_memory(GeometryAttentionCase(), torch.device('cpu'), 0)
    assert 400 < extra['sibling'] / 2**20 < 1500
    assert extra['ours'] < extra['sibling'] / 8
