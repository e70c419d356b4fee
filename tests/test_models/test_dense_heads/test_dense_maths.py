"""Pieces of losses against values by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder
from torch.testing import assert_close

from mmdet_ext.models.dense_heads import dense_maths
from mmdet_ext.models.dense_heads.dense_maths import (
    at_least_one,
    flatten_levels,
    focal_modulation,
    mean_over_ranks,
    reachable_boxes,
    small_object_weights,
    spread_levels,
    widen,
)


@pytest.mark.parametrize(
    ('given', 'expected'),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32)]
    + [(x, x) for x in (torch.float32, torch.float64)],
)
def test_widen(given, expected):
    assert widen(torch.zeros(2, dtype=given)).dtype == expected


def test_flatten_levels_keeps_the_order_of_priors():
    """Row by row, in a cell anchor by anchor, as `AnchorGenerator.grid_priors`."""
    maps = [torch.arange(2.0 * 6 * 2 * 3).view(2, 6, 2, 3), -torch.arange(2.0 * 6).view(2, 6, 1, 1)]
    flat = flatten_levels(maps, 2)
    assert flat.shape == (2, 3 * 6 + 3, 2)
    for image, row, column, anchor in [(0, 0, 0, 0), (1, 1, 2, 2), (0, 1, 0, 1)]:
        expected = maps[0][image, 2 * anchor : 2 * anchor + 2, row, column]
        assert_close(flat[image, (row * 3 + column) * 3 + anchor], expected)
    assert_close(flat[1, 18:].flatten(), maps[1][1].flatten())


def test_spread_levels():
    like = torch.zeros((), dtype=torch.long)
    assert spread_levels((5, 7), (2, 3), like).tolist() == [5, 5, 7, 7, 7]
    assert spread_levels((5, 7), (2, 0), like).dtype == torch.long


def test_mean_over_ranks_of_one_rank():
    x = torch.tensor(2.5, dtype=torch.float64, requires_grad=True)
    numbers = mean_over_ranks(3, x.detach(), torch.tensor(4), like=torch.zeros(1, dtype=torch.float16))
    assert [number.item() for number in numbers] == [3, 2.5, 4]
    assert {number.dtype for number in numbers} == {torch.float32}


@pytest.mark.parametrize('ranks', [1, 4])
def test_at_least_one_positive_on_all_ranks(ranks, monkeypatch):
    monkeypatch.setattr(dense_maths, 'get_world_size', lambda: ranks)
    for count, expected in ((0, 1), (1, 1), (2, 2), (9, 9)):
        assert_close(at_least_one(torch.tensor(count / ranks)) * ranks, torch.tensor(float(expected)))


def test_small_object_weights():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 5], [0, 0, 20, 10], [-10, -10, 30, 30]])
    expected = torch.tensor([1.5, 2, 1, 1])
    assert_close(small_object_weights(boxes, torch.full((4,), 200.0)), expected)
    assert small_object_weights(boxes[:0], torch.zeros(0)).shape == (0,)


@pytest.mark.parametrize('use_sigmoid', [True, False])
@pytest.mark.parametrize('gamma', [0.0, 2.0])
def test_focal_modulation(use_sigmoid, gamma):
    logits, labels = torch.randn(5, 4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 2, 1, 2, 0])
    scores = logits.sigmoid() if use_sigmoid else logits.exp() / logits.exp().sum(1, keepdim=True)
    expected = torch.stack([(1 - scores[i, label]) ** gamma for i, label in enumerate(labels)])
    found = focal_modulation(logits, labels, gamma, use_sigmoid)
    assert_close(found, expected.detach())
    assert not found.requires_grad


class TestReachableBoxes:
    PRIORS = torch.tensor([[0.0, 0, 32, 64], [0, 0, 32, 64], [8, 8, 8, 8]])

    def test_flat_boxes_are_what_the_coder_decodes_at_least(self):
        boxes = torch.tensor([[10.0, 10, 10, 30], [4, 50, 9, 50]])
        found, coder = reachable_boxes(boxes, self.PRIORS[:2]), DeltaXYWHBBoxCoder()
        assert_close(found[0, [1, 3]], boxes[0, [1, 3]])
        assert_close(found[1, [0, 2]], boxes[1, [0, 2]])
        deltas = coder.encode(self.PRIORS[:2], found)
        assert deltas.isfinite().all()
        assert not coder.encode(self.PRIORS[:2], boxes).isfinite().all()
        limit = torch.tensor([[0.0, 0, -100, 0], [0, 0, 0, -100]])
        least = coder.decode(self.PRIORS[:2], limit)
        sides = found[:, 2:] - found[:, :2]
        assert_close(sides[0, 0], (least[0, 2] - least[0, 0]), rtol=1e-4, atol=1e-4)
        assert_close(sides[1, 1], (least[1, 3] - least[1, 1]), rtol=1e-4, atol=1e-4)

    @settings(deadline=None, max_examples=30)
    @given(st.lists(st.tuples(*[st.floats(0.001, 100)] * 4), min_size=1, max_size=3))
    def test_all_others_stay(self, rows):
        boxes = torch.tensor(rows)
        boxes[:, 2:] += boxes[:, :2] + 1e-3
        assert torch.equal(reachable_boxes(boxes, self.PRIORS[: len(boxes)]), boxes)
