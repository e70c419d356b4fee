"""LandmarkRandomFlip: places and names of landmarks in a mirrored image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope
from test_datasets.test_transforms.landmark_sample import HEIGHT, WIDTH, face_sample

from mmdet_ext.datasets.transforms import LandmarkRandomFlip

POINTS = np.array([[12, 10, 2], [30, 11, 1], [20, 20, 2], [0, 0, 0], [28, 30, 2]])
BOX = [(10, 8, 34, 40)]


def flipped(direction, points=POINTS, **options):
    options = {'prob': 1.0, 'direction': direction, **options}
    return LandmarkRandomFlip(**options)(face_sample(BOX, [points]))['gt_keypoints'][0].tolist()


@pytest.mark.parametrize(
    ('direction', 'expected'),
    [
        ('horizontal', [[50, 11, 1], [68, 10, 2], [60, 20, 2], [52, 30, 2], [0, 0, 0]]),
        ('vertical', [[30, 49, 1], [12, 50, 2], [20, 40, 2], [28, 30, 2], [0, 0, 0]]),
        ('diagonal', [[68, 50, 2], [50, 49, 1], [60, 40, 2], [0, 0, 0], [52, 30, 2]]),
    ],
)
def test_closed_form(direction, expected):
    assert (HEIGHT, WIDTH) == (60, 80)
    assert flipped(direction) == expected


def test_pairs_can_be_chosen():
    plain = flipped('horizontal', swap_pairs=())
    assert plain == [[68, 10, 2], [50, 11, 1], [60, 20, 2], [0, 0, 0], [52, 30, 2]]
    assert flipped('horizontal', swap_pairs=[[0, 4]]) == [plain[4], *plain[1:4], plain[0]]
    with pytest.raises(ValueError, match='indices from 0 to 4'):
        flipped('horizontal', swap_pairs=[(0, 5)])


whole = hnp.arrays(np.int64, (3, 5), elements=st.integers(-5, 85))


@settings(deadline=None)
@given(whole, whole, st.sampled_from(['horizontal', 'vertical', 'diagonal']))
def test_flipping_twice_is_nothing(x, y, direction):
    points = np.stack([x, y, np.arange(15).reshape(3, 5) % 3], axis=-1)
    results = face_sample([(0, 0, 80, 60)] * 3, points)
    before = {key: np.array(results[key]) for key in ('gt_keypoints', 'img', 'landmark_bboxes')}
    flip = LandmarkRandomFlip(prob=1.0, direction=direction)
    twice = flip(flip(results))
    assert all(np.array_equal(twice[key], before[key]) for key in before)


def test_the_pixel_below_a_landmark_goes_with_it():
    points = np.add(POINTS, [0.5, 0.5, 0])  # centres of pixels
    results = face_sample(BOX, [points])
    before = results['gt_keypoints'][0].copy()
    flip = LandmarkRandomFlip(prob=1.0)
    image = flip(results)['img']
    after = results['gt_keypoints'][0]
    for new, old in zip(range(5), [1, 0, 2, 4, 3], strict=True):
        if after[new, 2]:
            x, y = after[new, :2].astype(int)
            assert image[y, x, :2].tolist() == before[old, :2].astype(int).tolist()


def test_an_image_that_is_not_flipped():
    init_default_scope('mmdet')
    flip = TRANSFORMS.build(dict(type='LandmarkRandomFlip', prob=0.0))
    results = flip(face_sample(BOX, [POINTS]))
    assert results['flip'] is False
    assert results['gt_keypoints'][0].tolist() == POINTS.tolist()
    assert 'homography_matrix' not in results
    assert repr(flip).endswith('swap_pairs=((0, 1), (3, 4)))')
    assert flip(face_sample([], []))['gt_keypoints'].shape == (0, 5, 3)
