"""Proposals, detections and raw detections: those of mmdet, in pixels of the image file."""

import copy

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_ext.analysis.diagnosis.predictions import RAW, predict, without_masks
from tests.test_analysis.test_diagnosis import detector_case as case


def mmdets(model, inputs, samples, **test_cfg):
    """Results of the model itself, after a change of its last test config."""
    model = copy.deepcopy(model)
    last = model.roi_head if hasattr(model, 'roi_head') else model.bbox_head
    last.test_cfg = ConfigDict({**last.test_cfg, **test_cfg})
    with torch.no_grad():
        (result,) = model.predict(inputs, [sample.clone() for sample in samples], rescale=True)
    found = result.pred_instances
    return found[found.scores.argsort(descending=True, stable=True)]


def check(found, expected):
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.bboxes.reshape(-1, 4), rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4)
    assert found.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize('family', ['faster', 'mask', 'cascade', 'relation', 'retina', 'yolo', 'yolo_iou', 'fcos'])
def test_detections_are_those_of_mmdet(family):
    detector = case.detector(family)
    inputs, samples = case.batch(detector, 0, 'val')
    record = case.record(family, 0, 'val')
    check(record.detections, mmdets(detector.model, inputs, samples))
    raw = dict(score_thr=0.001, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.95))
    if 'yolo' in family:
        raw['conf_thr'] = 0.001
    check(record.raw, mmdets(detector.model, inputs, samples, **raw))
    assert len(record.raw) >= len(record.detections)
    assert (np.diff(record.raw.scores) <= 0).all()
    if 'yolo' not in family:  # it leaves boxes where they are
        assert (record.raw.boxes[:, [0, 2]] <= case.WIDTH + 1e-3).all()


@pytest.mark.parametrize('family', ['faster', 'cascade', 'relation'])
def test_proposals_of_an_rpn(family):
    detector = case.detector(family)
    inputs, samples = case.batch(detector, 0, 'val')
    with torch.no_grad():
        (expected,) = detector.model.rpn_head.predict(detector.model.extract_feat(inputs), samples, rescale=False)
    proposals = case.record(family, 0, 'val').proposals
    order = expected.scores.argsort(descending=True, stable=True)
    np.testing.assert_allclose(proposals.boxes, expected.bboxes[order] / case.SCALE, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(proposals.scores, expected.scores[order])
    assert set(proposals.labels.tolist()) == {0}
    assert len(proposals) == 30


def test_an_rpn_alone_finds_proposals():
    record = case.record('rpn', 0)
    assert len(record.proposals) == len(record.detections) > 0
    np.testing.assert_array_equal(record.proposals.boxes, record.detections.boxes)
    assert record.limits == ()


def test_no_proposals_without_an_rpn():
    assert all(case.record(family, 0).proposals is None for family in (*case.DENSE, 'fcos', 'detr'))


def test_raw_detections_keep_what_the_config_cuts():
    detector = case.variant('retina')
    inputs, samples = case.batch(detector, 0)
    head = detector.model.bbox_head
    head.test_cfg = ConfigDict({**head.test_cfg, 'score_thr': 0.9, 'max_per_img': 3})
    before = copy.deepcopy(head.test_cfg)
    found = predict(detector.model, inputs, samples)
    assert len(found.detections) == 0
    assert len(found.raw) > 50
    assert found.raw.scores.min() > RAW['score_thr']
    for label in range(2):
        own = torch.from_numpy(found.raw.boxes[found.raw.labels == label])
        overlaps = bbox_overlaps(own, own).fill_diagonal_(0)
        assert 0.5 < overlaps.max() <= 0.95 + 1e-5
    assert head.test_cfg == before
    uncut = predict(detector.model, inputs, samples, raw=False)
    assert len(uncut.raw) == 0


def test_a_head_without_nms_has_no_raw_detections():
    record = case.record('detr', 0)
    assert len(record.detections) == 6
    np.testing.assert_array_equal(record.raw.boxes, record.detections.boxes)
    assert record.limits[-1] == 'DETRHead has no `nms` in its test_cfg: raw detections are the detections'
    detector = case.detector('detr')
    assert predict(detector.model, *case.batch(detector, 0), raw=False).limits == ()


def test_samples_are_left_alone():
    detector = case.detector('mask')
    inputs, samples = case.batch(detector, 0)
    predict(detector.model, inputs, samples)
    assert 'pred_instances' not in samples[0]
    assert 'predict' not in vars(detector.model.rpn_head)


def test_masks_are_left_out_for_a_while():
    head = case.detector('mask').model.roi_head
    masks = head.mask_head
    with without_masks(head):
        assert not head.with_mask
    assert head.mask_head is masks
    assert head.with_mask
    head = case.detector('faster').model.roi_head
    with without_masks(head):
        pass
    assert not hasattr(head, 'mask_head')


def test_mmdets_ssd_head_can_predict_here():
    """mmdet 3.3 asks it for a loss that it does not have (issue 11063 there)."""
    record = case.record('ssd', 0)
    assert len(record.raw) > len(record.detections) > 0
    assert 'loss_cls' not in vars(case.detector('ssd').model.bbox_head)


def test_proposals_that_the_data_bring():
    detector = case.variant('faster')
    inputs, samples = case.batch(detector, 0)
    boxes = torch.tensor([[10.0, 10, 60, 60]])
    samples[0].proposals = InstanceData(bboxes=boxes, scores=torch.ones(1))
    detector.model.rpn_head.predict = None
    found = predict(detector.model, inputs, samples)
    assert found.proposals is None
    assert len(found.raw) == 2
