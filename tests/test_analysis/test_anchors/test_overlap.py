"""Coverage of boxes by anchors, against all anchors of mmdet one by one."""

import numpy as np
import pytest
import torch
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.anchors import overlap as anchor_overlap
from mmdet_ext.analysis.anchors.boxes import BoxSet
from mmdet_ext.analysis.anchors.heads import AnchorGrid
from mmdet_ext.analysis.anchors.overlap import best_on_grid, measure, share_from
from tests.test_analysis.test_anchors.anchor_case import OCTAVE, PLAIN, SSD, YOLO, boxes_on

WIDTH, HEIGHT = 100, 72


def random_boxes(n=60, seed=0):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(0, 1, (n, 2, 2)), axis=1) * [WIDTH, HEIGHT]
    boxes = corners.reshape(n, 4)
    boxes[:, 2:] += 1
    return BoxSet(boxes, np.full((n, 2), [WIDTH + 1.0, HEIGHT + 1.0]), images=1)


def all_anchors(options):
    """(M, 4) every anchor on the image."""
    init_default_scope('mmdet')
    built = TASK_UTILS.build(dict(options))
    sizes = [(-(-(HEIGHT + 1) // h), -(-(WIDTH + 1) // w)) for w, h in built.strides]
    return torch.cat(built.grid_priors(sizes, device='cpu'))


@pytest.mark.parametrize('options', [PLAIN, OCTAVE, SSD, YOLO, {**PLAIN, 'center_offset': 0.5}])
def test_the_best_anchor_is_the_best_of_all(options):
    boxes = random_boxes()
    _, overlaps = best_on_grid(boxes, AnchorGrid.of(options))
    slow = bbox_overlaps(torch.from_numpy(boxes.boxes).float(), all_anchors(options)).max(1).values
    np.testing.assert_allclose(overlaps, slow, atol=2e-5)


@pytest.mark.parametrize('options', [PLAIN, SSD, YOLO])
def test_best_possible_recall_is_the_share_with_a_positive_anchor(options):
    boxes = random_boxes(200, seed=1)
    grid = AnchorGrid.of(options)
    slow = bbox_overlaps(torch.from_numpy(boxes.boxes).float(), all_anchors(options)).max(1).values
    for threshold in (0.3, 0.5, 0.7):
        found = measure(boxes, grid.shapes, grid, threshold, [0.5])
        assert found.possible == pytest.approx(float((slow >= threshold).float().mean()))
    assert found.grid_iou == pytest.approx(float(slow.mean()), abs=1e-5)


def test_shapes_alone_reach_more_than_the_grid():
    boxes = random_boxes(200)
    grid = AnchorGrid.of(PLAIN)
    found = measure(boxes, grid.shapes, grid, 0.5, [0.3, 0.5, 0.7])
    assert found.mean_iou >= found.grid_iou
    assert found.recall[0.5] >= found.possible
    assert found.recall[0.3] >= found.recall[0.5] >= found.recall[0.7]
    alone = measure(boxes, grid.shapes, None, 0.5, [0.5])
    assert (alone.grid_iou, alone.possible) == (None, None)
    assert alone.mean_iou == found.mean_iou
    assert alone.overlaps.mean() == pytest.approx(alone.mean_iou)


def test_boxes_that_are_anchors_are_covered_wholly():
    boxes = boxes_on(PLAIN)
    grid = AnchorGrid.of(PLAIN)
    found = measure(boxes, grid.shapes, grid, 1.0, [1.0])
    assert (found.possible, found.recall[1.0]) == (1.0, 1.0)
    assert found.grid_iou == pytest.approx(1)


def test_the_stride_counts():
    # A 16 x 16 box in the middle between four anchors of 16 x 16: 8 x 8 of it is covered by each.
    grid = AnchorGrid(np.array([[16.0, 16.0]]), np.array([0]), np.zeros((1, 2)), np.array([[16.0, 16.0]]))
    boxes = BoxSet(np.array([[16.0, 16, 32, 32]]), np.array([[64.0, 64]]), images=1)
    assert measure(boxes, grid.shapes, grid, 0.5, [0.5]).grid_iou == pytest.approx(64 / (2 * 256 - 64))
    # Beyond the last cell there is no anchor.
    boxes = BoxSet(np.array([[56.0, 0, 64, 8]]), np.array([[64.0, 64]]), images=1)
    assert best_on_grid(boxes, grid)[1] == pytest.approx(0)


def test_many_boxes_are_compared_in_parts(monkeypatch):
    boxes, grid = random_boxes(), AnchorGrid.of(SSD)
    whole = best_on_grid(boxes, grid)
    monkeypatch.setattr(anchor_overlap, '_CHUNK', 7)
    for ours, theirs in zip(best_on_grid(boxes, grid), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_share():
    assert share_from(np.array([0.5, 0.4999999, 0.4, 0.9]), 0.5) == 0.75
