"""Landmarks moved, hidden and renamed, and the check that nothing left them behind."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mmdet.structures.bbox import HorizontalBoxes

from mmdet_ext.datasets.transforms.landmark_geometry import (
    FACE_LANDMARKS,
    FACE_PAIRS,
    blank_absent,
    check_in_step,
    hide_outside,
    mirrored_landmarks,
    move_landmarks,
    remember_boxes,
)
from mmdet_ext.datasets.transforms.part_geometry import side_pairs

points = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.just(5), st.just(2)), elements=st.floats(-50, 150, width=32)
)


def with_v(xy, seed=0):
    v = np.random.default_rng(seed).integers(0, 3, (*xy.shape[:2], 1))
    return np.concatenate([xy, v], axis=-1).astype(np.float32)


def test_closed_form():
    keypoints = np.array([[[1, 2, 2], [3, 4, 1], [5, 6, 0]]], np.float32)
    moved = move_landmarks(keypoints, np.array([[2, 0, 10], [0, 3, -1], [0, 0, 1]], np.float32))
    assert moved.tolist() == [[[12, 5, 2], [16, 11, 1], [0, 0, 0]]]
    assert moved.dtype == np.float32
    assert move_landmarks(np.zeros((0, 5, 3), np.float32), np.eye(3)).shape == (0, 5, 3)


@settings(deadline=None)
@given(points, st.floats(0.1, 9), st.floats(-99, 99), st.booleans())
def test_there_and_back(xy, scale, shift, mirrored):
    keypoints = blank_absent(with_v(xy))
    step = np.array([[-scale if mirrored else scale, 0, shift], [0, scale, -shift], [0, 0, 1]])
    back = move_landmarks(move_landmarks(keypoints, step), np.linalg.inv(step))
    np.testing.assert_allclose(back, keypoints, atol=2e-3)
    assert (back[..., 2] == keypoints[..., 2]).all()


def test_absent_landmarks_have_no_place():
    keypoints = np.array([[[1, 2, 0], [np.nan, 4, 0], [5, 6, 1]]], np.float32)
    assert blank_absent(keypoints).tolist() == [[[0, 0, 0], [0, 0, 0], [5, 6, 1]]]


@pytest.mark.parametrize(
    ('x', 'y', 'inside'),
    [(0, 0, True), (30, 20, True), (-0.01, 5, False), (30.01, 5, False), (5, -0.01, False), (5, 20.01, False)],
)
def test_the_border_is_inside(x, y, inside):
    got = hide_outside(np.array([[[x, y, 2], [3, 4, 1]]], np.float32), (20, 30))
    assert got[0, 0].tolist() == (pytest.approx([x, y, 2]) if inside else [0, 0, 0])
    assert got[0, 1].tolist() == [3, 4, 1]


@settings(deadline=None)
@given(points)
def test_hidden_one_by_one(xy):
    keypoints = blank_absent(with_v(xy))
    expected = keypoints.copy()
    for face in expected:
        for point in face:
            if not (0 <= point[0] <= 90 and 0 <= point[1] <= 70):
                point[:] = 0
    assert np.array_equal(hide_outside(keypoints, (70, 90)), expected)


def test_pairs_of_a_face():
    named = [tuple(FACE_LANDMARKS.index(name) for name in pair) for pair in side_pairs(FACE_LANDMARKS)]
    assert named == list(FACE_PAIRS)
    assert mirrored_landmarks(5, FACE_PAIRS) == [1, 0, 2, 4, 3]
    assert mirrored_landmarks(3, ()) == [0, 1, 2]
    assert mirrored_landmarks(3, [[2, 0]]) == [2, 1, 0]


@pytest.mark.parametrize(
    ('pairs', 'words'),
    [
        ([(0, 5)], r'two different indices from 0 to 4, but has \(0, 5\)'),
        ([(-1, 2)], 'two different indices'),
        ([(1, 1)], 'two different indices'),
        ([(1,)], 'two different indices'),
        (['ab'], 'two different indices'),
        ([(0, 1), (1, 2)], r'several pairs: \(1, 2\)'),
        ([(0, 1), (2, 0)], 'several pairs'),
    ],
)
def test_bad_pairs(pairs, words):
    with pytest.raises(ValueError, match=words):
        mirrored_landmarks(5, pairs)


def results(boxes, num=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    num = len(boxes) if num is None else num
    return {'gt_bboxes': boxes, 'gt_keypoints': np.zeros((num, 5, 3), np.float32), 'img_path': 'a.jpg'}


@pytest.mark.parametrize('boxes', [[], [[1, 2, 3, 4], [5, 6, 7, 8]], [[np.nan] * 4]])
@pytest.mark.parametrize('kind', [np.asarray, lambda b: HorizontalBoxes(torch.tensor(b))])
def test_in_step(boxes, kind):
    data = results(boxes)
    data['gt_bboxes'] = kind(data['gt_bboxes'])
    check_in_step(data, 'T')
    remember_boxes(data)
    check_in_step(data, 'T')
    if boxes and kind is not np.asarray:
        data['gt_bboxes'].translate_([1, 0])  # in place, as mmdet's transforms do
        if not np.isnan(boxes[0][0]):
            with pytest.raises(ValueError, match='moved'):
                check_in_step(data, 'T')


def test_left_behind():
    data = results([[1, 2, 3, 4], [5, 6, 7, 8]])
    remember_boxes(data)
    data['gt_bboxes'][1, 0] = 4
    with pytest.raises(ValueError, match=r'Pack: in a\.jpg the boxes 1 were moved, .*use LandmarkResize'):
        check_in_step(data, 'Pack')
    with pytest.raises(ValueError, match=r'3 faces have landmarks and 2 have boxes'):
        check_in_step(results([[1, 2, 3, 4], [5, 6, 7, 8]], 3), 'Pack')
    with pytest.raises(ValueError, match=r'Pack: the landmarks of a\.jpg came without boxes'):
        check_in_step({**data, 'gt_bboxes': None}, 'Pack')
