"""PackLandmarkInputs: landmarks as a tensor beside the boxes, ignored faces apart, parts too."""

import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope
from test_datasets.test_transforms.landmark_sample import BOXES, face_sample

from mmdet_ext.datasets.transforms import LandmarkRandomFlip, LandmarkResize, PackLandmarkInputs, PackPartInputs


def test_what_is_packed():
    init_default_scope('mmdet')
    results = face_sample(ignored=(1,))
    expected = results['gt_keypoints'].copy()
    packed = TRANSFORMS.build(dict(type='PackLandmarkInputs', meta_keys=('img_id',)))(results)
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 60, 80)
    assert sample.metainfo == {'img_id': 1}
    faces, ignored = sample.gt_instances, sample.ignored_instances
    assert faces.keypoints.dtype == torch.float32
    assert faces.keypoints.numpy().tolist() == expected[[0, 2]].tolist()
    assert ignored.keypoints.numpy().tolist() == expected[[1]].tolist()
    assert faces.bboxes.tensor.tolist() == [list(BOXES[0]), list(BOXES[2])]
    assert faces.labels.tolist() == [0, 2]
    assert (faces.keypoints[1] == 0).all()


def test_no_faces():
    sample = PackLandmarkInputs()(face_sample([], []))['data_samples']
    assert sample.gt_instances.keypoints.shape == (0, 5, 3)
    assert sample.ignored_instances.keypoints.shape == (0, 5, 3)


def test_without_landmarks_as_in_inference():
    packed = PackLandmarkInputs()({'img': np.zeros((4, 6, 3), np.uint8), 'img_shape': (4, 6)})
    assert packed['inputs'].shape == (3, 4, 6)
    assert 'keypoints' not in packed['data_samples'].gt_instances


def test_landmarks_left_behind_are_not_packed():
    results = face_sample()
    results['gt_bboxes'].rescale_([2, 2])
    with pytest.raises(ValueError, match=r'PackLandmarkInputs: in a\.jpg the boxes 0, 1, 2 were moved'):
        PackLandmarkInputs()(results)


def test_parts_and_landmarks_together():
    class Pack(PackLandmarkInputs, PackPartInputs):
        pass

    boxes = np.array([[0, 0, 20, 60], [50, 0, 80, 60]], np.float32)
    parts = {'part_boxes': boxes, 'part_valid': np.ones(2, bool), 'part_names': ('left lung', 'right lung')}
    results = LandmarkResize(scale=(160, 120))({**face_sample(), **parts})
    keypoints = results['gt_keypoints'].copy()
    sample = Pack(swap_pairs=())(LandmarkRandomFlip(prob=1.0)(results))['data_samples']
    assert sample.parts.bboxes.tolist() == [[120, 0, 160, 120], [0, 0, 60, 120]]
    got = sample.gt_instances.keypoints.numpy()
    assert got[0, 0].tolist() == [160 - keypoints[0, 1, 0], keypoints[0, 1, 1], 2]
