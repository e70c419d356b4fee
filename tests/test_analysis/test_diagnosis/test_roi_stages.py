"""Records of RoI heads: proposals without ground truth, scores of the sampled RoIs, boxes of known weights."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.structures import InstanceData

from mmdet_ext.analysis.diagnosis.assignments import watch_stages
from mmdet_ext.analysis.diagnosis.image_losses import image_losses
from mmdet_ext.analysis.diagnosis.record import SCORE_BINS
from mmdet_ext.analysis.diagnosis.roi_stages import roi_stage
from tests.test_analysis.test_diagnosis import detector_case as case

NAMES = {
    'faster': ['roi_head'],
    'mask': ['roi_head'],
    'relation': ['roi_head'],
    'cascade': [f'roi_head.{number}' for number in range(3)],
}
TRUTH = torch.tensor([[6.0, 4, 36, 28], [44, 20, 70, 50]]) * case.SCALE


def given(detector, boxes):
    """The RPN proposes these boxes of the first image."""
    proposals = torch.tensor(boxes) * case.SCALE

    def loss_and_predict(x, samples, proposal_cfg=None):
        results = InstanceData(bboxes=proposals.clone(), scores=torch.ones(len(boxes)), labels=torch.zeros(len(boxes)))
        return {}, [results]

    detector.model.rpn_head.loss_and_predict = loss_and_predict
    inputs, samples = case.batch(detector, 0)
    with watch_stages(detector.model, samples[0]) as watched:
        losses, _ = image_losses(detector.model, inputs, samples)
    assert losses
    # The RPN above matches nothing.
    return watched.records([])


@pytest.mark.parametrize('family', NAMES)
@pytest.mark.parametrize('index', [0, 1, 3])
def test_a_record_agrees_with_itself(family, index):
    record = case.record(family, index)
    assert record.limits == ()
    assert [name for name in record.stages if name != 'rpn_head'] == NAMES[family]
    for name in NAMES[family]:
        stage = record.stages[name]
        assert stage.kind == 'rois'
        assert stage.histograms.sum(1).tolist() == [*stage.sampled, 0]
        assert stage.level_priors.tolist() == [stage.assigned.sum()]
        assert stage.level_positives.tolist() == [stage.assigned[0]]
        assert stage.gt_positives.sum() == stage.assigned[0]
        assert stage.gt_positives.shape == stage.gt_iou.shape == (len(case.BOXES[index]),)
        # Ground truth is added to the RoIs, not to the proposals.
        assert stage.sampled[0] >= len(case.BOXES[index])
        assert (stage.gt_iou < 1).all()


BOXES = [[6.0, 4, 36, 27], [6, 4, 36, 16.5], [44, 25, 70, 50], [0, 40, 20, 60], [50, 0, 80, 14]]
"""Overlaps with the objects: 23/24, 12.5/24, 25/30, none, none."""


def known(detector, scores, deltas):
    heads = detector.model.roi_head.bbox_head
    for head in heads if isinstance(heads, torch.nn.ModuleList) else [heads]:
        for layer, values in ((head.fc_cls, scores), (head.fc_reg, deltas)):
            torch.nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.bias.copy_(torch.tensor(values)[: len(layer.bias)])


def test_proposals_scores_and_boxes_by_hand():
    detector = case.variant('faster')
    # Class 1 is wider, class 0 stays: an object of each. Means are 0, stds 0.1 and 0.2.
    known(detector, [math.log(0.1), math.log(0.64), math.log(0.26)], [0, 0, 0, 0, 0, 0, 5 * math.log(2.0), 0])
    stage = given(detector, BOXES)['roi_head']
    assert stage.assigned.tolist() == [3, 2, 0]
    assert stage.gt_positives.tolist() == [2, 1]
    np.testing.assert_allclose(stage.gt_iou, [23 / 24, 25 / 30], rtol=1e-5)
    np.testing.assert_allclose(stage.positives, BOXES[:3], rtol=1e-5)
    assert stage.positive_gt.tolist() == [0, 0, 1]
    # With both objects there are five positives, and all negatives.
    assert stage.sampled.tolist() == [5, 2]
    assert np.flatnonzero(stage.histograms.sum(0)).tolist() == [int(0.64 * SCORE_BINS)]
    before = [23 / 24, 12.5 / 24, 25 / 30]
    np.testing.assert_allclose(stage.overlaps[0], np.mean(before), rtol=1e-5)
    wider = torch.tensor([[31.0, 25, 83, 50]])
    after = [*before[:2], float(bbox_overlaps(wider, TRUTH[1:] / case.SCALE))]
    np.testing.assert_allclose(stage.overlaps[1], np.mean(after), rtol=1e-4)


def test_stages_of_a_cascade_refine():
    detector = case.variant('cascade')
    known(detector, [0.0, 0.0, 0.0], [0.0] * 4)
    found = given(detector, BOXES)
    assert [stage.assigned.tolist()[0] for stage in found.values()] == [3, 2, 2]
    assert list(found) == NAMES['cascade']
    for stage in found.values():
        assert stage.overlaps[0] == pytest.approx(stage.overlaps[1], rel=1e-4)
        assert np.flatnonzero(stage.histograms.sum(0)).tolist() == [SCORE_BINS // 3]


def test_no_proposals():
    stage = given(case.variant('faster'), np.zeros((0, 4), np.float32))['roi_head']
    assert stage.assigned.tolist() == [0, 0, 0]
    assert stage.sampled.tolist() == [2, 0]
    assert stage.gt_iou.tolist() == [0, 0]
    assert np.isnan(stage.overlaps).all()


def test_what_cannot_be_told():
    head = case.detector('faster').model.roi_head
    sampled = SimpleNamespace(pos_inds=torch.zeros(1).long(), neg_inds=torch.zeros(2).long())
    one = SimpleNamespace(sampled=sampled)
    assert roi_stage(head, 0, [], [], {}, torch.ones(4)) == 'its losses did not call its assigner'
    reason = 'the scores of its RoIs are not in the order of its sampler'
    for outputs in ([], [{'cls_score': torch.zeros(2, 3)}]):
        assert roi_stage(head, 0, [one], outputs, {}, torch.ones(4)) == reason
    assert roi_stage(head, 0, [SimpleNamespace(sampled=None)], [], {}, torch.ones(4)) == reason


def test_other_deltas_and_activations():
    detector = case.variant('faster')
    head = detector.model.roi_head
    forward = head._bbox_forward
    head._bbox_forward = lambda *args: {**forward(*args), 'bbox_pred': None}
    inputs, samples = case.batch(detector, 0)
    with watch_stages(detector.model, samples[0]) as watched:
        image_losses(detector.model, inputs, samples)
    seen = watched._stages[1]
    assert seen.name == 'roi_head'
    sampled = seen.matchings[0].sampled
    number = len(sampled.pos_inds) + len(sampled.neg_inds)
    box_head = SimpleNamespace(
        custom_cls_channels=True,
        num_classes=2,
        loss_cls=SimpleNamespace(get_activation=lambda rows: rows),
        bbox_coder=SimpleNamespace(encode_size=4),
    )
    outputs = {'cls_score': torch.tensor([[0.1, 0.62, 0.9]]).repeat(number, 1), 'bbox_pred': torch.zeros(number, 3)}
    # RoIs that a sampler scores by itself come before.
    own = {'cls_score': torch.ones(1, 3), 'bbox_pred': None}
    stage = roi_stage(SimpleNamespace(bbox_head=box_head), 0, seen.matchings, [own, outputs], {}, torch.ones(4))
    assert np.flatnonzero(stage.histograms.sum(0)).tolist() == [12]
    assert np.isnan(stage.overlaps[1])
