"""Projection of part boxes, and left and right."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.datasets.transforms.part_geometry import mirrored_order, project_parts, side_pairs

NAMES = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')
BOX = np.array([[2.0, 4.0, 10.0, 20.0]])
HERE = np.array([True])
EYE = np.eye(3)


def shift(x, y):
    return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])


def slow(boxes, valid, homography, img_shape, min_area_ratio):
    """One corner after the other."""
    height, width = img_shape
    moved, kept = [], []
    for (x1, y1, x2, y2), there in zip(boxes, valid, strict=True):
        points = []
        for x, y in [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]:
            u, v, w = homography @ np.array([x, y, 1.0])
            points.append((u / w, v / w))
        left, top = min(p[0] for p in points), min(p[1] for p in points)
        right, bottom = max(p[0] for p in points), max(p[1] for p in points)
        whole = (right - left) * (bottom - top)
        left, right = min(max(left, 0), width), min(max(right, 0), width)
        top, bottom = min(max(top, 0), height), min(max(bottom, 0), height)
        area = (right - left) * (bottom - top)
        kept.append(bool(there and area > 0 and area >= min_area_ratio * whole))
        moved.append([left, top, right, bottom] if kept[-1] else [0.0] * 4)
    return np.array(moved), np.array(kept)


numbers = st.floats(-2, 2)
corner, side = st.floats(-5, 60), st.floats(1, 60)


@given(
    st.lists(st.tuples(corner, corner, side, side, st.booleans()), min_size=1, max_size=5),
    st.tuples(numbers, numbers, st.floats(-40, 40), numbers, numbers, st.floats(-40, 40)),
    st.tuples(st.floats(0, 1e-3), st.floats(0, 1e-3)),
    st.sampled_from([0.0, 0.1, 0.5]),
)
def test_equals_the_slow_reference(rows, affine, perspective, ratio):
    boxes = np.array([[x, y, x + w, y + h] for x, y, w, h, _ in rows])
    valid = np.array([row[4] for row in rows])
    homography = np.array([*affine, *perspective, 1.0]).reshape(3, 3)
    moved, kept = project_parts(boxes, valid, homography, (50, 70), ratio)
    expected, expected_kept = slow(boxes, valid, homography, (50, 70), ratio)
    # At the very limit of what counts as left of a part, the order of additions decides.
    loose, strict = (slow(boxes, valid, homography, (50, 70), ratio + d)[1] for d in (-1e-6, 1e-6))
    assert ((kept == expected_kept) | (loose != strict) | (expected[:, 2] - expected[:, 0] < 1e-4)).all()
    same = kept & expected_kept
    np.testing.assert_allclose(moved[same], expected[same], atol=1e-3)
    assert (moved[~kept] == 0).all()
    assert moved.dtype == np.float32


def test_nothing_moves_without_a_transform():
    moved, kept = project_parts(BOX, HERE, EYE, (30, 30), 0.1)
    assert (moved == BOX).all()
    assert kept.all()


@pytest.mark.parametrize(('x', 'kept'), [(-9.1, True), (-9.3, False), (-20, False), (27.1, True), (27.3, False)])
def test_a_part_that_leaves_the_image_becomes_invalid(x, kept):
    # A tenth of the box, 0.8 pixels of its width, is left at -9.2 and, in an image of width 30, at 27.2.
    moved, valid = project_parts(BOX, HERE, shift(x, 0), (30, 30), 0.1)
    assert valid.tolist() == [kept]
    assert (moved.any(axis=1) == valid).all()
    assert moved.min() >= 0
    assert moved.max() <= 30


def test_an_invalid_part_stays_invalid_and_zero():
    boxes = np.array([[np.nan] * 4, BOX[0]])
    moved, valid = project_parts(boxes, np.array([False, True]), shift(1, 1), (30, 30), 0.1)
    assert valid.tolist() == [False, True]
    assert moved.tolist() == [[0, 0, 0, 0], [3, 5, 11, 21]]


def test_precise_in_large_images():
    boxes = np.array([[15000.25, 4.5, 15999.5, 20.25]])
    moved, _ = project_parts(boxes, HERE, shift(-15000, 0).astype(np.float32), (100, 1000), 0.1)
    np.testing.assert_allclose(moved, [[0.25, 4.5, 999.5, 20.25]], atol=1e-3)


@pytest.mark.parametrize(
    ('names', 'pairs'),
    [
        (NAMES, [('left lung', 'right lung'), ('left scapula', 'right scapula')]),
        (('right_lung', 'left_lung'), [('left_lung', 'right_lung')]),
        (('lung left', 'lung right'), [('lung left', 'lung right')]),
        (('left lung', 'heart', 'right kidney'), []),
        (('cleft', 'cright'), []),
    ],
)
def test_side_pairs(names, pairs):
    assert side_pairs(names) == pairs


def test_mirrored_order():
    assert mirrored_order(NAMES, None) == [1, 0, 2, 4, 3]
    assert mirrored_order(NAMES, ()) == [0, 1, 2, 3, 4]
    assert mirrored_order(NAMES, [['heart', 'left lung']]) == [2, 1, 0, 3, 4]


@pytest.mark.parametrize(
    ('pairs', 'words'),
    [
        ([('left lung', 'right lunge')], "'right lunge' \\(nearest: 'right lung'\\)"),
        ([('left lung',)], 'must be pairs'),
        (['lr'], 'must be pairs'),
        ([('heart', 'heart')], 'must be pairs'),
        ([('left lung', 'right lung'), ('right lung', 'heart')], 'several pairs'),
        ([('left lung', 'right lung'), ('heart', 'left lung')], 'several pairs'),
    ],
)
def test_bad_pairs(pairs, words):
    with pytest.raises(ValueError, match=words):
        mirrored_order(NAMES, pairs)


@given(st.permutations(NAMES))
def test_mirroring_twice_is_nothing(names):
    order = np.array(mirrored_order(names, None))
    assert (order[order] == np.arange(5)).all()
