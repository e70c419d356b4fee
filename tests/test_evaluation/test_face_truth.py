"""What the metrics of faces read."""

import json

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmdet_ext.evaluation.face_truth import CocoFaces, read_detections, read_truth
from tests.test_evaluation.face_case import sample

BOXES = [[0.0, 0, 1, 1], [1, 0, 2, 1], [2, 0, 3, 1]]


def test_detections_by_falling_score_of_one_class():
    marks = torch.arange(30.0).reshape(3, 5, 2)
    found = read_detections(sample(BOXES, scores=[0.1, 0.9, 0.5], labels=[0, 1, 0], keypoints=marks))
    assert found.boxes.tolist() == [BOXES[2], BOXES[0]]
    assert found.scores.tolist() == pytest.approx([0.5, 0.1])
    np.testing.assert_array_equal(found.landmarks, marks[[2, 0]])
    other = read_detections(sample(BOXES, labels=[0, 1, 0]), label=1)
    assert other.boxes.tolist() == [BOXES[1]]
    assert other.landmarks is None
    assert {part.dtype for part in found} == {np.dtype(np.float64)}


def test_equal_scores_stay_in_order():
    assert read_detections(sample(BOXES, scores=[0.5, 0.5, 0.5])).boxes.tolist() == BOXES


def test_detections_that_are_not_finite_are_left_out():
    one = sample(BOXES, scores=[0.9, float('nan'), 0.5], keypoints=torch.zeros(3, 5, 2))
    one['pred_instances']['bboxes'][0, 2] = float('inf')
    assert read_detections(one).boxes.tolist() == [BOXES[2]]
    one['pred_instances']['keypoints'][2, 4, 1] = float('nan')
    assert read_detections(one).boxes.shape == (0, 4)
    assert read_detections(one).landmarks.shape == (0, 5, 2)
    assert read_detections(sample([])).scores.shape == (0,)


def test_half_precision_and_visibility_columns():
    one = sample(BOXES)
    one['pred_instances'] = {key: value.half() for key, value in one['pred_instances'].items()}
    one['pred_instances']['keypoints'] = torch.ones(3, 5, 3)
    assert read_detections(one).landmarks.shape == (3, 5, 2)


def test_truth_joins_faces_and_ignored_ones():
    one = sample([], truth={'labels': [0, 1], 'keypoints': torch.ones(2, 5, 3)})
    one['gt_instances']['bboxes'] = HorizontalBoxes(torch.tensor(BOXES[:2]))
    one['ignored_instances'] = {'bboxes': torch.tensor(BOXES[2:]), 'labels': torch.zeros(1)}
    truth = read_truth(one)
    assert truth.boxes.tolist() == [BOXES[0], BOXES[2]]
    assert truth.ignored.tolist() == [False, True]
    assert truth.landmarks[:, :, 2].tolist() == [[1] * 5, [0] * 5]
    assert read_truth(one, label=1).boxes.tolist() == [BOXES[1]]
    empty = read_truth(sample([], truth={}))
    assert (empty.boxes.shape, empty.ignored.tolist(), empty.landmarks) == ((0, 4), [], None)
    with pytest.raises(KeyError, match='image 1 comes without gt_instances'):
        read_truth(sample([]))


def write(path, **changes):
    common = dict(image_id=1, area=1)
    content = {
        'images': [dict(id=1), dict(id=2)], 'categories': [dict(id=4, name='head'), dict(id=9, name='face')],
        'annotations': [dict(id=1, bbox=[1, 2, 3, 4], category_id=9, keypoints=[1, 1, 2] * 5, **common),
                        dict(id=2, bbox=[5, 6, 0, 0], category_id=9, iscrowd=1, **common),
                        dict(id=3, bbox=[5, 6, 1, 1], category_id=9, ignore=1, **common),
                        dict(id=4, bbox=[0, 0, 9, 9], category_id=4, **common)],
    } | changes  # fmt: skip
    path.write_text(json.dumps(content))
    return str(path)


def test_coco(tmp_path):
    faces = CocoFaces(write(tmp_path / 'ann.json'), label=1)
    truth = faces[1]
    assert truth.boxes.tolist() == [[1, 2, 4, 6], [5, 6, 5, 6], [5, 6, 6, 7]]
    assert truth.ignored.tolist() == [False, True, True]
    assert truth.landmarks[:, :, 2].tolist() == [[2] * 5, [0] * 5, [0] * 5]
    assert faces[2].boxes.shape == (0, 4)
    assert faces[2].landmarks.shape == (0, 5, 3)
    with pytest.raises(KeyError, match=r'ann\.json has no image of id 3'):
        faces[3]


def test_coco_without_landmarks(tmp_path):
    bare = [dict(id=1, bbox=[1, 2, 3, 4], category_id=9, image_id=1)]
    assert CocoFaces(write(tmp_path / 'ann.json', annotations=bare), label=1)[1].landmarks is None


def test_bad_coco(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist'):
        CocoFaces(str(tmp_path / 'none.json'))
    path = write(tmp_path / 'ann.json')
    with pytest.raises(ValueError, match='has 2 categories, there is none of label 2'):
        CocoFaces(path, label=2)
    for lengths in ((15, 12), (14,)):
        annotations = [dict(bbox=[0, 0, 1, 1], category_id=9, image_id=1, keypoints=[0] * n) for n in lengths]
        with pytest.raises(ValueError, match='keypoints must be 3 numbers for each of the same landmarks'):
            CocoFaces(write(tmp_path / 'ann.json', annotations=annotations))
