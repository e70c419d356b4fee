"""LandmarkResize against numpy, with landmarks on and beyond the border."""

import numpy as np
import pytest
from test_datasets.test_transforms.landmark_sample import HEIGHT, WIDTH, face_sample

from mmdet_ext.datasets.transforms import LandmarkResize


@pytest.mark.parametrize(
    ('scale', 'keep_ratio', 'factors'),
    [((160, 180), False, (2, 3)), ((160, 180), True, (2.25, 2.25)), ((33, 17), False, (33 / WIDTH, 17 / HEIGHT))],
)
def test_against_numpy(scale, keep_ratio, factors):
    before = face_sample()['gt_keypoints']
    results = LandmarkResize(scale=scale, keep_ratio=keep_ratio)(face_sample())
    np.testing.assert_allclose(results['gt_keypoints'][..., :2], before[..., :2] * factors, rtol=1e-5)
    assert (results['gt_keypoints'][..., 2] == before[..., 2]).all()
    assert results['gt_keypoints'].dtype == np.float32
    np.testing.assert_allclose(results['scale_factor'], factors)


def test_landmarks_beyond_the_border_are_not_moved_onto_it():
    points = np.array([[-3, 5, 2], [WIDTH, HEIGHT, 2], [WIDTH + 4, 9, 1], [0, 0, 2], [4, HEIGHT + 2, 2]])
    results = LandmarkResize(scale=(2 * WIDTH, 2 * HEIGHT))(face_sample([(0, 0, 80, 60)], [points]))
    assert results['gt_keypoints'][0].tolist() == (points * [2, 2, 1]).tolist()


def test_no_faces():
    assert LandmarkResize(scale=(9, 9))(face_sample([], []))['gt_keypoints'].shape == (0, 5, 3)
