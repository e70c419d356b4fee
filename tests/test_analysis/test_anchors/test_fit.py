"""Fits of all three generators: anchors that made the boxes are found again, and a fit never loses."""

import numpy as np
import pytest

from mmdet_ext.analysis.anchors import fit as anchor_fit
from mmdet_ext.analysis.anchors.boxes import BoxSet
from mmdet_ext.analysis.anchors.fit import fit_anchors
from mmdet_ext.analysis.anchors.heads import AnchorGrid
from mmdet_ext.analysis.anchors.overlap import measure
from tests.test_analysis.test_anchors.anchor_case import OCTAVE, PLAIN, SSD, YOLO, boxes_on, head_of


def scaled(options, factor):
    """The generator with anchors of another size on the same grids."""
    if 'base_sizes' in options:
        return {**options, 'base_sizes': [[(w * factor, h * factor) for w, h in level] for level in YOLO['base_sizes']]}
    if 'min_sizes' in options:
        return {**options, **{key: [side * factor for side in options[key]] for key in ('min_sizes', 'max_sizes')}}
    return {**options, 'base_sizes': [stride * factor for stride in options['strides']]}


def reach(options, boxes):
    grid = AnchorGrid.of(options)
    return measure(boxes, grid.shapes, grid, 0.7, [0.7])


@pytest.mark.parametrize('options', [PLAIN, OCTAVE, SSD, YOLO], ids=['plain', 'octave', 'ssd', 'yolo'])
@pytest.mark.parametrize('factor', [1.0, 0.7])
def test_anchors_that_made_the_boxes_are_found_again(options, factor):
    boxes = boxes_on(scaled(options, factor), copies=30, noise=0.05)
    head = head_of(options)
    fitted, shapes = fit_anchors(head, boxes, starts=3)
    assert fitted['type'] == options['type']
    grid, before = AnchorGrid.of(fitted), AnchorGrid.of(options)
    np.testing.assert_array_equal(grid.levels, before.levels)
    assert len(shapes) == len(grid)
    found, true = reach(fitted, boxes), reach(scaled(options, factor), boxes)
    assert found.grid_iou > true.grid_iou - 0.02
    if factor < 1:
        assert found.grid_iou > reach(options, boxes).grid_iou + 0.05
        assert found.possible > 0.95


@pytest.mark.parametrize('options', [PLAIN, OCTAVE, SSD], ids=['plain', 'octave', 'ssd'])
@pytest.mark.parametrize('centre', ['mean', 'median'])
def test_a_fit_is_never_below_the_config(options, centre):
    rng = np.random.default_rng(1)
    for sizes in ((5, 6), (20, 300), (200, 500)):
        corner = rng.uniform(0, 10, (100, 2))
        boxes = np.concatenate([corner, corner + rng.uniform(*sizes, (100, 2))], axis=1)
        boxes = BoxSet(boxes, np.full((100, 2), 512.0), images=1)
        fitted, _ = fit_anchors(head_of(options), boxes, centre=centre, starts=1)
        assert reach(fitted, boxes).grid_iou >= reach(options, boxes).grid_iou - 1e-6
        assert (AnchorGrid.of(fitted).shapes > 0).all()


def test_kept_base_sizes():
    boxes = boxes_on(scaled(OCTAVE, 0.8), copies=20)
    fitted, _ = fit_anchors(head_of(OCTAVE), boxes, keep_base_sizes=True, starts=1)
    assert 'base_sizes' not in fitted
    assert fitted['octave_base_scale'] == pytest.approx(3.2, rel=0.01)
    np.testing.assert_allclose(fitted['ratios'], [0.5, 1, 2], rtol=0.02)
    for options in (SSD, YOLO):
        with pytest.raises(ValueError, match='whose base sizes are all there is to fit'):
            fit_anchors(head_of(options), boxes, keep_base_sizes=True)


def test_seeds_and_samples(monkeypatch):
    boxes = boxes_on(YOLO, copies=40, noise=0.2)
    assert fit_anchors(head_of(YOLO), boxes, seed=1)[0] == fit_anchors(head_of(YOLO), boxes, seed=1)[0]
    monkeypatch.setattr(anchor_fit, 'MOST_BOXES', 20)
    part = fit_anchors(head_of(YOLO), boxes, seed=1)[0]
    assert part != fit_anchors(head_of(YOLO), boxes, seed=2)[0]
    with pytest.raises(ValueError, match='4 clusters are wanted of 1 boxes with 1 different shapes'):
        fit_anchors(head_of(YOLO), boxes.sample(1, 0))
