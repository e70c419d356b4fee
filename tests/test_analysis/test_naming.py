"""Which name a detector gave to each annotated object."""

import json
import pickle

import numpy as np
import pytest
import torch

from mmdet_ext.analysis.naming import count_names, read_annotations, read_predictions
from mmdet_ext.evaluation.objects import Objects

TRUTH = Objects([[0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]], [0, 1, 2], [1, 1, 1])


def test_counts_have_the_objects_not_found_last():
    detected = {7: Objects([[0, 0, 10, 10], [20, 20, 40, 40]], [0, 2], [0.9, 0.9])}
    counts = count_names({7: TRUTH, 8: TRUTH}, detected, num_classes=3)
    assert counts.tolist() == [[1, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 2]]


def test_annotations_follow_the_class_order_and_leave_crowds_out(tmp_path):
    def annotation(category, bbox, iscrowd=0):
        return {'image_id': 5, 'category_id': category, 'bbox': bbox, 'iscrowd': iscrowd}

    file = tmp_path / 'a.json'
    file.write_text(json.dumps({
        'images': [{'id': 5}, {'id': 6}],
        'categories': [{'id': 10, 'name': 'b'}, {'id': 20, 'name': 'a'}, {'id': 30, 'name': 'other'}],
        'annotations': [annotation(10, [1, 2, 3, 4]), annotation(20, [0, 0, 5, 5], 1), annotation(30, [0, 0, 5, 5])],
    }))  # fmt: skip
    truth = read_annotations(file, ['a', 'b'])
    assert truth[5].boxes.tolist() == [[1, 2, 4, 6]]
    assert truth[5].labels.tolist() == [1]
    assert truth[6].boxes.shape == (0, 4)
    with pytest.raises(FileNotFoundError):
        read_annotations(tmp_path / 'none.json', ['a'])


def test_predictions_are_read_by_image_id(tmp_path):
    instances = {'bboxes': torch.tensor([[1.0, 2, 3, 4]]), 'labels': torch.tensor([3]), 'scores': torch.tensor([0.5])}
    file = tmp_path / 'p.pkl'
    file.write_bytes(pickle.dumps([{'img_id': 9, 'ori_shape': (8, 8), 'pred_instances': instances}]))
    found = read_predictions(file)
    assert list(found) == [9]
    np.testing.assert_array_equal(found[9].boxes, [[1, 2, 3, 4]])
    assert found[9].labels.tolist() == [3]
