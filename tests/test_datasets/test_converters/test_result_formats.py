"""Detections as instances, as arrays per class and as COCO results; boxes by corners, corner and size, centre."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.evaluation import CocoMetric
from mmengine.structures import InstanceData

from mmdet_ext.datasets.converters.result_formats import (
    FORMATS,
    convert_boxes,
    from_class_arrays,
    from_coco_results,
    to_class_arrays,
    to_coco_results,
)

CAT_IDS = (7, 1, 90)


def detections(labels=(2, 0, 2)):
    boxes = torch.tensor([[1.0, 2, 11, 22], [0, 0, 3, 4], [5, 5, 5, 9]])[: len(labels)]
    scores = torch.tensor([0.5, 0.75, 0.25])[: len(labels)]
    return InstanceData(bboxes=boxes, scores=scores, labels=torch.tensor(labels, dtype=torch.long))


def same(one, two):
    return all(torch.equal(one[key], two[key]) for key in ('bboxes', 'scores', 'labels'))


def test_boxes_in_closed_form():
    forms = dict(xyxy=[1.0, 2, 11, 22], xywh=[1.0, 2, 10, 20], cxcywh=[6.0, 12, 10, 20])
    for source, box in forms.items():
        for target, wanted in forms.items():
            assert convert_boxes(torch.tensor([[box]]), source, target).tolist() == [[wanted]]
    assert convert_boxes(torch.zeros(0, 4), 'xywh', 'cxcywh').shape == (0, 4)


@given(
    st.lists(st.lists(st.integers(-50, 50), min_size=4, max_size=4), max_size=5),
    *[st.sampled_from(FORMATS)] * 2,
)
def test_boxes_there_and_back(boxes, source, target):
    boxes = torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4)
    assert torch.equal(convert_boxes(convert_boxes(boxes, source, target), target, source), boxes)


def test_boxes_are_checked():
    with pytest.raises(ValueError, match="format is 'yxyx', allowed are xyxy, xywh, cxcywh"):
        convert_boxes(torch.zeros(1, 4), 'xyxy', 'yxyx')
    for wrong in (torch.zeros(1, 5), torch.zeros(1, 4, dtype=torch.long)):
        with pytest.raises(ValueError, match='needed are floats'):
            convert_boxes(wrong, 'xyxy', 'xywh')


def test_arrays_per_class():
    arrays = to_class_arrays(detections(), 3)
    assert [array.tolist() for array in arrays] == [
        [[0, 0, 3, 4, 0.75]],
        [],
        [[1, 2, 11, 22, 0.5], [5, 5, 5, 9, 0.25]],
    ]
    assert {array.shape[1] for array in arrays} == {5}
    back = from_class_arrays(arrays)
    assert same(back, detections()[torch.tensor([1, 0, 2])])
    assert [array.shape for array in to_class_arrays(detections(()), 2)] == [(0, 5)] * 2
    assert same(from_class_arrays(to_class_arrays(detections(()), 2)), detections(()))
    assert len(from_class_arrays([])) == 0


def test_half_precision():
    pred = detections()
    pred.bboxes, pred.scores = pred.bboxes.bfloat16(), pred.scores.bfloat16()
    assert to_class_arrays(pred, 3)[0].dtype == np.float32
    assert to_coco_results(pred, 1, CAT_IDS)[1]['bbox'] == [0, 0, 3, 4]


def test_arrays_are_checked():
    with pytest.raises(ValueError, match=r'label 2 at position 0 is outside of 0 to 1'):
        to_class_arrays(detections(), 2)
    with pytest.raises(ValueError, match=r'class 1 has an array of shape \(2, 4\), needed is \(k, 5\)'):
        from_class_arrays([np.zeros((0, 5)), np.zeros((2, 4))])


def test_coco_results_are_those_of_mmdet(tmp_path):
    pred = detections()
    ours = to_coco_results(pred, 4, CAT_IDS)
    metric = CocoMetric(metric='bbox', format_only=True, outfile_prefix=str(tmp_path / 'r'))
    metric.cat_ids = list(CAT_IDS)
    arrays = {key: pred[key].numpy() for key in ('bboxes', 'scores', 'labels')}
    metric.results2json([dict(img_id=4, **arrays)], str(tmp_path / 'r'))
    assert ours == json.loads((tmp_path / 'r.bbox.json').read_text()) == json.loads(json.dumps(ours))
    assert ours[0] == dict(image_id=4, category_id=90, bbox=[1, 2, 10, 20], score=0.5)


def test_coco_results_there_and_back():
    results = to_coco_results(detections(), 4, CAT_IDS) + to_coco_results(detections((1,)), 2, CAT_IDS)
    back = from_coco_results(results, CAT_IDS)
    assert list(back) == [4, 2]
    assert same(back[4], detections())
    assert same(back[2], detections((1,)))
    assert to_coco_results(detections(()), 4, CAT_IDS) == []
    assert from_coco_results([], CAT_IDS) == {}


def test_coco_results_are_checked():
    with pytest.raises(ValueError, match='label 2 at position 0'):
        to_coco_results(detections(), 4, CAT_IDS[:2])
    pred = detections()
    pred.bboxes[1, 2] = float('nan')
    with pytest.raises(ValueError, match='image 4: detection 1 has a box or score that is not finite'):
        to_coco_results(pred, 4, CAT_IDS)
    good = to_coco_results(detections(), 4, CAT_IDS)
    with pytest.raises(KeyError, match='result 1 has no bbox, score'):
        from_coco_results([good[0], dict(image_id=4, category_id=7)], CAT_IDS)
    with pytest.raises(ValueError, match=r'result 0 has the box \[1, 2\]'):
        from_coco_results([{**good[0], 'bbox': [1, 2]}], CAT_IDS)
    with pytest.raises(ValueError, match='label 90 at position 0 is none of'):
        from_coco_results(good, CAT_IDS[:2])
