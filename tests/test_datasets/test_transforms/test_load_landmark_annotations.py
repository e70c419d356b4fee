"""LoadLandmarkAnnotations: a row of landmarks for every box."""

import numpy as np
import pytest
import torch
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope

from mmdet_ext.datasets.transforms import LoadLandmarkAnnotations

POINTS = [1, 2, 2, 3, 4, 1, 5, 6, 0, 7, 8, 2, 9, 10, 2]


def face(keypoints=None, **more):
    own = {} if keypoints is None else {'keypoints': keypoints}
    return {'bbox': [0, 0, 9, 9], 'bbox_label': 0, 'ignore_flag': 0, **own, **more}


def image(*faces):
    return {'img_path': 'a.jpg', 'height': 20, 'width': 20, 'instances': list(faces)}


def test_one_row_for_each_box():
    init_default_scope('mmdet')
    load = TRANSFORMS.build(dict(type='LoadLandmarkAnnotations'))
    results = load(image(face(), face(POINTS, ignore_flag=1), face(np.reshape(POINTS, (5, 3)))))
    keypoints = results['gt_keypoints']
    assert keypoints.shape == (3, 5, 3)
    assert keypoints.dtype == np.float32
    assert (keypoints[0] == 0).all()
    assert keypoints[1].tolist() == [[1, 2, 2], [3, 4, 1], [0, 0, 0], [7, 8, 2], [9, 10, 2]]
    assert (keypoints[2] == keypoints[1]).all()
    assert results['gt_ignore_flags'].tolist() == [False, True, False]
    assert repr(load).endswith('num_landmarks=5)')


def test_everything_else_is_as_mmdet_loads_it():
    ours, theirs = (load(image(face(POINTS), face())) for load in (LoadLandmarkAnnotations(), LoadAnnotations()))
    assert torch.equal(ours['gt_bboxes'].tensor, theirs['gt_bboxes'].tensor)
    assert set(ours) - set(theirs) == {'gt_keypoints', 'landmark_bboxes'}
    for key in ('gt_bboxes_labels', 'gt_ignore_flags'):
        assert (ours[key] == theirs[key]).all()
    assert 'gt_keypoints' not in LoadAnnotations(with_keypoints=True)(image(face(POINTS)))  # why this class is there


@pytest.mark.parametrize('results', [image(), {'img_path': None}])
def test_no_faces(results):
    loaded = LoadLandmarkAnnotations()(results)
    assert loaded['gt_keypoints'].shape == (0, 5, 3)
    assert len(loaded['gt_bboxes']) == 0


def test_other_numbers_and_arrays_of_boxes():
    loaded = LoadLandmarkAnnotations(num_landmarks=2, box_type=None)(image(face(POINTS[:6])))
    assert loaded['gt_keypoints'].tolist() == [[[1, 2, 2], [3, 4, 1]]]
    assert isinstance(loaded['gt_bboxes'], np.ndarray)


@pytest.mark.parametrize(
    ('keypoints', 'words'),
    [
        (POINTS[:14], r'an object of a\.jpg has 14 numbers in `keypoints`, but 5 landmarks are 15'),
        ([], 'has 0 numbers'),
        ([float('nan'), *POINTS[1:]], r'`keypoints` of object 1 of a\.jpg are not finite'),
        ([*POINTS[:2], 3, *POINTS[3:]], 'of object 1 .* v 0 '),
        ([*POINTS[:2], -1, *POINTS[3:]], 'of object 1 '),
    ],
)
def test_bad_landmarks(keypoints, words):
    with pytest.raises(ValueError, match=words):
        LoadLandmarkAnnotations()(image(face(POINTS), face(keypoints)))


def test_bad_options():
    with pytest.raises(ValueError, match='num_landmarks must be positive, got 0'):
        LoadLandmarkAnnotations(num_landmarks=0)
    with pytest.raises(ValueError, match='with_bbox must be True'):
        LoadLandmarkAnnotations(with_bbox=False)
