"""Objects of an image: arrays, sizes, overlaps."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.structures.bbox import bbox_overlaps

from mmdet_ext.evaluation.objects import (
    SIZES,
    ImageObjects,
    Objects,
    box_areas,
    box_overlaps,
    clean_image,
    finite_boxes,
    no_objects,
    size_groups,
)

TRUTH = Objects([[0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]], [0, 1, 2], [1, 1, 1])
boxes = st.lists(st.tuples(*[st.integers(0, 20)] * 4), max_size=5).map(
    lambda rows: np.array([(x, y, x + w, y + h) for x, y, w, h in rows], float).reshape(-1, 4)
)


def test_lists_become_arrays():
    assert (TRUTH.boxes.dtype, TRUTH.labels.dtype, TRUTH.scores.dtype) == (np.float32, np.int64, np.float32)
    assert len(Objects([], [], [])) == len(no_objects()) == 0
    assert no_objects().boxes.shape == Objects([], [], []).boxes.shape == (0, 4)


def test_indexing_keeps_rows_together():
    kept = TRUTH[TRUTH.labels == 1]
    assert (len(kept), kept.boxes.tolist(), kept.labels.tolist()) == (1, [[20, 20, 40, 40]], [1])


def test_what_is_not_finite_is_left_out():
    odd = Objects([[0, 0, np.nan, 1], [0, 0, 1, 1], [0, 0, np.inf, 1], [0, 0, 2, 2]], [0, 1, 2, 3], [1, 1, 1, np.nan])
    assert odd.finite().labels.tolist() == [1]
    assert TRUTH.finite() is TRUTH
    assert finite_boxes([[0, 0, 1, np.nan], [0, 0, 1, 2]]).tolist() == [[0, 0, 1, 2]]
    assert finite_boxes([]).shape == (0, 4)
    image = clean_image(ImageObjects(odd, odd, odd.boxes), 0, 2)
    assert [len(image.truth), len(image.detections), len(image.ignored)] == [1, 1, 2]


@pytest.mark.parametrize('label', [-1, 3, 9])
@pytest.mark.parametrize('what', ['an object', 'a detection'])
def test_a_label_that_is_no_class(label, what):
    odd = Objects([[0, 0, 1, 1]] * 2, [0, label], [1, 1])
    image = ImageObjects(odd, TRUTH) if what == 'an object' else ImageObjects(TRUTH, odd)
    with pytest.raises(ValueError, match=f'image 7 has {what} of label {label}, but there are 3 classes'):
        clean_image(image, 7, 3)


def test_the_order_in_memory_does_not_matter():
    turned = np.asfortranarray([[0, 0, 10, 20], [5, 5, 25, 15], [1, 2, 3, 4]], np.float64)
    plain = np.ascontiguousarray(turned)
    assert np.array_equal(box_overlaps(turned, turned), box_overlaps(plain, plain))


def test_sizes_are_those_of_coco():
    """The bounds belong to the smaller size; a box without area is small."""
    rows = [[0, 0, 32, 32], [0, 0, 32, 33], [0, 0, 96, 96], [5, 5, 101, 102], [3, 3, 3, 9], [5, 5, 1, 1]]
    assert [SIZES[k] for k in size_groups(rows)] == ['small', 'medium', 'medium', 'large', 'small', 'small']
    assert box_areas(rows).tolist() == [1024, 1056, 9216, 96 * 97, 0, 0]
    assert size_groups([]).shape == box_areas([]).shape == (0,)


def test_overlaps():
    found = box_overlaps([[0, 0, 10, 10], [0, 0, 0, 0]], [[0, 0, 10, 5], [5, 5, 15, 15], [9, 9, 1, 1]])
    np.testing.assert_allclose(found, [[0.5, 25 / 175, 0], [0, 0, 0]], rtol=1e-15)
    inside = box_overlaps([[0, 0, 10, 10], [2, 2, 4, 4]], [[0, 0, 10, 5]], of_first=True)
    np.testing.assert_allclose(inside, [[0.5], [1]], rtol=1e-15)
    assert box_overlaps([], TRUTH.boxes).shape == (0, 3)
    assert box_overlaps(TRUTH.boxes, []).shape == (3, 0)


@given(boxes, boxes)
def test_overlaps_equal_those_of_mmdet(first, second):
    expected = bbox_overlaps(torch.from_numpy(first), torch.from_numpy(second), eps=1e-12).numpy()
    np.testing.assert_allclose(box_overlaps(first, second), expected, atol=1e-12)
    share = bbox_overlaps(torch.from_numpy(first), torch.from_numpy(second), mode='iof', eps=1e-12).numpy()
    np.testing.assert_allclose(box_overlaps(first, second, of_first=True), share, atol=1e-12)
