"""FollowLandmarks: as mmdet's transform in everything, and the landmarks follow."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope
from test_datasets.test_transforms.landmark_sample import BOXES, HEIGHT, WIDTH, face_landmarks, face_sample

from mmdet_ext.datasets.transforms import LandmarkRandomCrop, LandmarkResize
from mmdet_ext.datasets.transforms.landmark_geometry import check_in_step

CORNERS = np.array([[0, 0], [1, 0], [0.5, 0.5], [0, 1], [1, 1]])


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmdet')


def run(transforms, results, seed=0):
    np.random.seed(seed)  # noqa: NPY002  (mmdet draws from the global generator)
    return Compose([TRANSFORMS.build(transform) for transform in transforms])(results)


def resize(w, h, keep_ratio=False, name='LandmarkResize'):
    return dict(type=name, scale=(w, h), keep_ratio=keep_ratio)


def flip(direction='horizontal', name='LandmarkRandomFlip', prob=1.0):
    return dict(type=name, prob=prob, direction=direction)


def crop(w, h, name='LandmarkRandomCrop'):
    return dict(type=name, crop_size=(w, h), allow_negative_crop=True)


def plain(transforms):
    return [{**transform, 'type': transform['type'].removeprefix('Landmark')} for transform in transforms]


steps = st.one_of(
    st.builds(resize, st.integers(10, 90), st.integers(10, 90), st.booleans()),
    st.builds(flip, st.just('horizontal'), prob=st.sampled_from([0.0, 1.0])),
    st.builds(crop, st.integers(5, 60), st.integers(5, 60)),
)
edges = st.tuples(st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2), st.integers(1, WIDTH), st.integers(1, HEIGHT))


@settings(max_examples=80, deadline=None)
@given(st.lists(steps, max_size=5), st.lists(edges, max_size=4), st.integers(0, 99))
def test_any_sequence_moves_landmarks_like_corners_of_boxes(transforms, rows, seed):
    boxes = [[x, y, min(x + w, WIDTH), min(y + h, HEIGHT)] for x, y, w, h in rows]
    keypoints = [face_landmarks(box, 1 + index % 2, CORNERS) for index, box in enumerate(boxes)]
    results = run(transforms, face_sample(boxes, keypoints), seed)
    theirs = run(plain(transforms), face_sample(boxes, keypoints), seed)
    assert np.array_equal(results['img'], theirs['img'])
    assert torch.equal(results['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
    assert (results['gt_bboxes_labels'] == theirs['gt_bboxes_labels']).all()
    got, boxes = results['gt_keypoints'], results['gt_bboxes'].tensor.numpy()
    assert got.shape == (len(boxes), 5, 3)
    for label, points, (x1, y1, x2, y2) in zip(results['gt_bboxes_labels'], got, boxes, strict=True):
        seen = points[:, 2] > 0
        assert (points[seen, 2] == 1 + label % 2).all()
        # A corner that is still there is a corner of the box; a clipped box has lost some.
        corners = np.array([[x1, y1], [x2, y1], [np.nan, np.nan], [x1, y2], [x2, y2]])
        use = seen & (np.arange(5) != 2)
        np.testing.assert_allclose(points[use, :2], corners[use], atol=2e-3)
        assert (points[~seen] == 0).all()
    check_in_step(results, 'test')


def test_the_homography_is_the_one_of_mmdet():
    transforms = [resize(100, 50), flip(), crop(40, 30), flip('vertical', prob=0.0), resize(90, 90)]
    ours, theirs = run(transforms, face_sample()), run(plain(transforms), face_sample())
    assert (ours['homography_matrix'] == theirs['homography_matrix']).all()
    assert ours['homography_matrix'].dtype == theirs['homography_matrix'].dtype
    assert set(ours) == set(theirs)


def test_without_landmarks_it_is_mmdets_transform():
    transforms = [resize(100, 50), flip(), crop(40, 30)]
    results = face_sample()
    del results['gt_keypoints'], results['landmark_bboxes']
    ours, theirs = (run(kind, copy.deepcopy(results)) for kind in (transforms, plain(transforms)))
    assert set(ours) == set(theirs)
    assert torch.equal(ours['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
    inference = run(transforms[:2], {'img': results['img'], 'img_shape': (HEIGHT, WIDTH)})
    assert inference['img'].shape == (50, 100, 3)


def test_ids_of_instances_are_kept():
    results = face_sample()
    results['gt_instances_ids'] = np.array([70, 80, 90])
    np.random.seed(0)  # noqa: NPY002
    moved = LandmarkRandomCrop((20, 20), allow_negative_crop=True)(results)
    assert moved['gt_instances_ids'].tolist() == [[70, 80, 90][label] for label in moved['gt_bboxes_labels']]
    assert 'gt_instances_ids' not in LandmarkResize(scale=(9, 9))(face_sample())


def test_arrays_of_boxes():
    results = run([resize(160, 120), flip(), crop(80, 60)], face_sample(box_type=None))
    wrapped = run([resize(160, 120), flip(), crop(80, 60)], face_sample())
    assert isinstance(results['gt_bboxes'], np.ndarray)
    assert (results['gt_keypoints'] == wrapped['gt_keypoints']).all()


@pytest.mark.parametrize(
    'transform',
    [
        dict(type='RandomResize', scale=(160, 120), ratio_range=(0.5, 2.0), keep_ratio=True),
        dict(type='RandomChoiceResize', scales=[(160, 120), (40, 30)], keep_ratio=True),
        dict(type='ResizeShortestEdge', scale=90, keep_ratio=True),
    ],
)
def test_transforms_that_wrap_a_resize(transform):
    results = run([{**transform, 'resize_type': 'LandmarkResize'}], face_sample())
    assert results['img_shape'] != (HEIGHT, WIDTH)
    expected = face_landmarks(BOXES[0])[:, :2] * results['scale_factor']
    np.testing.assert_allclose(results['gt_keypoints'][0, :, :2], expected, rtol=1e-5)


@pytest.mark.parametrize(
    'transform',
    [
        resize(70, 70, name='Resize'),
        flip(name='RandomFlip'),
        crop(30, 30, 'RandomCrop'),
        dict(type='Expand', prob=1.0, ratio_range=(2, 2)),
        dict(type='Rotate', prob=1.0, min_mag=20.0, max_mag=40.0),
        dict(type='RandomAffine', border=(0, 0)),
        dict(type='FilterAnnotations', min_gt_bbox_wh=(10, 10)),
    ],
)
def test_a_transform_that_leaves_landmarks_behind_is_told(transform):
    with pytest.raises(
        ValueError, match=r'LandmarkResize: in a\.jpg .* left `gt_keypoints` behind; use LandmarkResize'
    ):
        run([transform, resize(30, 30)], face_sample())


def test_padding_and_colours_move_nothing():
    before = face_sample()['gt_keypoints']
    transforms = [dict(type='Pad', size_divisor=32), dict(type='PhotoMetricDistortion'), resize(96, 64)]
    results = run(transforms, face_sample())
    assert (results['gt_keypoints'] == before).all()
