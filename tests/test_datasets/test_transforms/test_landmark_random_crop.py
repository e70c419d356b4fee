"""LandmarkRandomCrop against a loop over faces and landmarks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_datasets.test_transforms.landmark_sample import BOXES, HEIGHT, WIDTH, face_landmarks, face_sample

from mmdet_ext.datasets.transforms import LandmarkRandomCrop


def cropped(size, seed=0, results=None, **options):
    np.random.seed(seed)  # noqa: NPY002
    crop = LandmarkRandomCrop(size, allow_negative_crop=True, **options)
    return crop(face_sample() if results is None else results)


@settings(deadline=None)
@given(st.integers(4, 70), st.integers(4, 70), st.integers(0, 200))
def test_against_a_loop(width, height, seed):
    results = cropped((width, height), seed)
    image = results['img']
    x0, y0 = (int(value) for value in image[0, 0, :2])  # pixels tell their place
    rows = []
    for index, (x1, y1, x2, y2) in enumerate(BOXES):
        if min(x2, x0 + image.shape[1]) <= max(x1, x0) or min(y2, y0 + image.shape[0]) <= max(y1, y0):
            continue
        points = np.zeros((5, 3)) if index == 2 else face_landmarks(BOXES[index])
        for point in points:
            point[:2] -= x0, y0
            if not (point[2] and 0 <= point[0] <= image.shape[1] and 0 <= point[1] <= image.shape[0]):
                point[:] = 0
        rows.append(points)
    assert results['gt_keypoints'].tolist() == [points.tolist() for points in rows]
    assert results['img_shape'] == (min(height, HEIGHT), min(width, WIDTH))


def test_landmarks_outside_the_crop_are_absent(monkeypatch):
    monkeypatch.setattr(np.random, 'randint', lambda *_: 0)
    results = cropped((20, 30))
    assert results['gt_bboxes_labels'].tolist() == [0]
    assert results['gt_keypoints'][0].tolist() == [[16, 16, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_nothing_left():
    results = face_sample([(0, 0, 4, 4)])
    np.random.seed(1)  # noqa: NPY002
    assert LandmarkRandomCrop((8, 8))(results) is None


@pytest.mark.parametrize('boxes', [[], [(5, 5, 5, 5)]])
def test_no_faces_and_zero_size(boxes):
    results = cropped((80, 60), results=face_sample(boxes))
    assert results['gt_keypoints'].shape == (len(boxes), 5, 3)
