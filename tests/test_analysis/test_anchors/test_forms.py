"""Free numbers of the generators: there and back, and what a turn makes of boxes."""

import numpy as np
import pytest

from mmdet_ext.analysis.anchors.boxes import BoxSet
from mmdet_ext.analysis.anchors.forms import ProductForm, SSDForm, rounded, yolo_config
from mmdet_ext.analysis.anchors.heads import AnchorGrid
from mmdet_ext.analysis.anchors.overlap import best_on_grid
from tests.test_analysis.test_anchors.anchor_case import OCTAVE, PLAIN, SSD, YOLO, boxes_on

SINGLE = dict(type='AnchorGenerator', strides=[16], scales=[2.0, 4.0, 8.0], ratios=[0.5, 1.0], scale_major=False)


def logs(boxes: BoxSet):
    found = np.log(boxes.shapes)
    return found.mean(1), found[:, 1] - found[:, 0]


@pytest.mark.parametrize(
    'form',
    [ProductForm(PLAIN), ProductForm(OCTAVE), ProductForm(OCTAVE, keep_base_sizes=True), ProductForm(SINGLE),
     ProductForm({**PLAIN, 'base_sizes': [7, 21]}, keep_base_sizes=True), SSDForm(SSD)],
)  # fmt: skip
def test_the_numbers_of_a_config_are_its_anchors(form):
    ours, theirs = AnchorGrid.of(form.config(form.current())), AnchorGrid.of(form.options)
    np.testing.assert_allclose(ours.shapes, theirs.shapes, rtol=1e-3)
    np.testing.assert_allclose(ours.centres, theirs.centres, atol=1e-4)


@pytest.mark.parametrize(
    'form',
    [ProductForm(PLAIN), ProductForm({**PLAIN, 'scale_major': False}), ProductForm(SINGLE), SSDForm(SSD),
     ProductForm(OCTAVE), ProductForm(PLAIN, 'median'), ProductForm(PLAIN, keep_base_sizes=True)],
)  # fmt: skip
def test_boxes_that_are_the_anchors_change_nothing(form):
    boxes = boxes_on(form.options)
    numbers = form.current()
    anchors, overlaps = best_on_grid(boxes, AnchorGrid.of(form.options))
    assert overlaps.min() > 0.999
    updated = form.update(numbers, *logs(boxes), anchors)
    for name, values in numbers.items():
        np.testing.assert_allclose(updated[name], values, atol=1e-5)


@pytest.mark.parametrize('form', [ProductForm(PLAIN), ProductForm(OCTAVE), SSDForm(SSD)])
def test_one_turn_finds_a_common_factor(form):
    """All boxes larger by 10 %: the anchors become so, whichever number takes it up."""
    boxes = boxes_on(form.options)
    anchors = best_on_grid(boxes, AnchorGrid.of(form.options))[0]
    sizes, ratios = logs(boxes)
    updated = form.update(form.current(), sizes + np.log(1.1), ratios, anchors)
    grid = AnchorGrid.of(form.config(updated))
    np.testing.assert_allclose(grid.shapes, AnchorGrid.of(form.options).shapes * 1.1, rtol=2e-3)


def test_octaves_and_kept_base_sizes():
    options = ProductForm(OCTAVE).config(ProductForm(OCTAVE).current())
    assert options == {**OCTAVE, 'octave_base_scale': 4.0, 'base_sizes': [8.0, 16.0, 32.0]}
    form = ProductForm(OCTAVE, keep_base_sizes=True)
    boxes = boxes_on(OCTAVE)
    sizes, ratios = logs(boxes)
    anchors = best_on_grid(boxes, AnchorGrid.of(OCTAVE))[0]
    options = form.config(form.update(form.current(), sizes + np.log(1.25), ratios, anchors))
    assert options == {**OCTAVE, 'octave_base_scale': 5.0}
    assert 'base_sizes' not in ProductForm(SINGLE).config(ProductForm(SINGLE).current())


def test_levels_without_boxes_follow_the_others():
    form = ProductForm(OCTAVE)
    sizes, ratios = np.full(9, np.log(20.0)), np.zeros(9)
    # All boxes to the anchors of the second level, in each of its ratios and scales.
    numbers = form.update(form.current(), sizes, ratios, np.arange(9, 18))
    np.testing.assert_allclose(np.diff(numbers['base']), np.log(2))
    ssd = SSDForm(SSD)
    numbers = ssd.update(ssd.current(), np.full(4, np.log(30.0)), np.zeros(4), np.array([0, 1, 2, 3]))
    np.testing.assert_allclose(np.exp(numbers['small']), [30, 75])
    assert (numbers['large'] > numbers['small']).all()
    # None at all: nothing moves.
    empty = form.update(form.current(), sizes[:0], ratios[:0], np.empty(0, np.int64))
    np.testing.assert_allclose(empty['base'], form.current()['base'])


def test_starts_put_the_largest_on_the_largest_stride():
    sizes = np.log(np.repeat([10.0, 40.0, 160.0], 5))
    for options in (OCTAVE, {**OCTAVE, 'strides': [32, 16, 8]}):
        base = ProductForm(options).start(sizes, np.zeros(15))['base']
        assert np.argsort(base).tolist() == np.argsort(options['strides']).tolist()
    ssd = SSDForm(SSD)
    start = ssd.start(sizes, np.zeros(15))
    assert start['small'][0] < start['large'][0] < start['small'][1] < start['large'][1]
    # One shape only still gives a start for every level.
    assert np.isfinite(ssd.start(np.full(3, 2.0), np.zeros(3))['large']).all()
    single = ProductForm(SINGLE).start(sizes, np.zeros(15))
    np.testing.assert_allclose(np.exp(single['scales']) * 16, [10, 40, 160])
    kept = ProductForm(OCTAVE, keep_base_sizes=True).start(sizes, np.zeros(15))
    np.testing.assert_allclose(kept['base'], np.log([8, 16, 32]))


def test_yolo_levels_and_rounding():
    shapes = np.array([[10.04, 12], [25, 40], [60, 50], [100, 120]])
    options = yolo_config(YOLO, shapes)
    assert options['base_sizes'] == [[(60.0, 50.0), (100.0, 120.0)], [(10.0, 12.0), (25.0, 40.0)]]
    assert yolo_config({**YOLO, 'strides': [16, 32]}, shapes)['base_sizes'][0][0] == (10.0, 12.0)
    assert rounded(np.log([1e-6, 2.3456]), 2) == [0.01, 2.35]
