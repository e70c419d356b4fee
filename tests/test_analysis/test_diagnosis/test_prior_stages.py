"""Records of heads with priors: matching by hand, scores and boxes of weights that are known."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.prior_generators import MlvlPointGenerator, anchor_inside_flags
from mmdet.structures.bbox import bbox_overlaps

from mmdet_ext.analysis.diagnosis.assignments import watch_stages
from mmdet_ext.analysis.diagnosis.image_losses import image_losses
from mmdet_ext.analysis.diagnosis.prior_stages import prior_stage
from mmdet_ext.analysis.diagnosis.record import SCORE_BINS
from mmdet_ext.analysis.diagnosis.stage_figures import POSITIVES
from tests.test_analysis.test_diagnosis import detector_case as case

SIZES = {'rpn': [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)], 'yolo': [(3, 4), (6, 8), (12, 16)]}
MAPS = [(12, 16), (6, 8), (3, 4)]


def stages(detector, index=0):
    inputs, samples = case.batch(detector, index)
    with watch_stages(detector.model, samples[0]) as watched:
        _, limits = image_losses(detector.model, inputs, samples)
    return watched.records(limits), limits


def gts(index):
    return torch.tensor([[x, y, x + w, y + h] for _, (x, y, w, h) in case.BOXES[index]]) * case.SCALE


@pytest.mark.parametrize('family', [*case.DENSE, 'rpn', 'faster', 'mask', 'cascade', 'relation'])
@pytest.mark.parametrize('index', [0, 1, 3])
def test_a_record_agrees_with_itself(family, index):
    record = case.record(family, index)
    name = 'bbox_head' if family in case.DENSE else 'rpn_head'
    assert record.limits == ()
    stage = record.stages[name]
    objects = len(case.BOXES[index])
    assert stage.kind == 'priors'
    assert stage.assigned.sum() == stage.level_priors.sum() == stage.histograms.sum()
    assert stage.histograms.sum(1).tolist() == stage.assigned.tolist()
    assert stage.level_positives.sum() == stage.gt_positives.sum() == stage.assigned[0]
    assert stage.gt_positives.shape == stage.gt_iou.shape == (objects,)
    assert len(stage.positives) == len(stage.positive_gt) == min(stage.assigned[0], POSITIVES)
    assert np.isnan(stage.overlaps).any() == (stage.assigned[0] == 0)
    assert (stage.sampled <= stage.assigned[:2]).all()
    if objects:
        best = bbox_overlaps(torch.from_numpy(record.truth.boxes), torch.from_numpy(stage.positives)).max(1).values
        # Positives are in pixels of the image file, as the objects are.
        np.testing.assert_array_less(best, stage.gt_iou + 1e-4)
        own = record.truth.boxes[stage.positive_gt]
        aligned = bbox_overlaps(torch.from_numpy(stage.positives), torch.from_numpy(own), is_aligned=True)
        np.testing.assert_allclose(aligned.mean(), stage.overlaps[0], rtol=1e-4)


def test_matching_of_max_iou_by_hand():
    head = case.detector('retina').model.bbox_head
    levels = head.prior_generator.grid_priors(MAPS, device='cpu')
    for index in (0, 1):
        overlaps = bbox_overlaps(torch.cat(levels), gts(index))
        best, gt = overlaps.max(1)
        positive = best >= 0.5
        for column in range(overlaps.shape[1]):  # every object takes its best anchors
            low = overlaps[:, column] == overlaps[:, column].max()
            positive, gt = positive | low, torch.where(low, column, gt)
        x, y, w, h = (side * case.SCALE for side in case.CROWD)
        crowd = torch.tensor([[x, y, x + w, y + h]])
        inside = bbox_overlaps(torch.cat(levels), crowd, mode='iof')[:, 0] > 0.5
        ignored = ((best >= 0.4) & (best < 0.5)) | (inside if index == 1 else False)
        positive &= ~(inside & (best < 0.5)) if index == 1 else True
        stage = case.record('retina', index).stages['bbox_head']
        counts = [int(positive.sum()), int((~positive & ~ignored).sum()), int((~positive & ignored).sum())]
        assert stage.assigned.tolist() == stage.histograms.sum(1).tolist() == counts
        assert stage.gt_positives.tolist() == gt[positive].bincount(minlength=2).tolist()
        np.testing.assert_allclose(stage.gt_iou, overlaps.max(0).values, rtol=1e-5)
        lengths = [len(level) for level in levels]
        assert stage.level_priors.tolist() == lengths
        assert stage.level_positives.tolist() == [int(part.sum()) for part in positive.split(lengths)]
        np.testing.assert_allclose(stage.positives, torch.cat(levels)[positive] / case.SCALE, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('family', ['ssd', 'cascade'])
def test_priors_beyond_the_border_take_no_part(family):
    detector = case.detector(family)
    head = detector.model.bbox_head if family == 'ssd' else detector.model.rpn_head
    border = head.train_cfg['allowed_border']
    levels = head.prior_generator.grid_priors(MAPS if family == 'ssd' else SIZES['rpn'], device='cpu')
    inside = [anchor_inside_flags(level, torch.ones(len(level)).bool(), (96, 128), border) for level in levels]
    stage = case.record(family, 0).stages['bbox_head' if family == 'ssd' else 'rpn_head']
    assert stage.level_priors.tolist() == [int(level.sum()) for level in inside]
    assert (stage.level_priors.sum() < sum(map(len, levels))) == (border == 0)


def constant(conv, values):
    torch.nn.init.zeros_(conv.weight)
    with torch.no_grad():
        conv.bias.copy_(torch.tensor(values).repeat(len(conv.bias) // len(values)))


def test_known_scores_and_boxes_of_sigmoids():
    detector = case.variant('retina')
    head = detector.model.bbox_head
    constant(head.retina_cls, [math.log(0.37 / 0.63), math.log(0.72 / 0.28)])
    # A quarter of the width to the right.
    constant(head.retina_reg, [0.25, 0.0, 0.0, 0.0])
    found, _ = stages(detector)
    stage = found['bbox_head']
    assert np.flatnonzero(stage.histograms.sum(0)).tolist() == [int(0.72 * SCORE_BINS)]
    boxes = torch.from_numpy(stage.positives)
    boxes[:, [0, 2]] += 0.25 * (boxes[:, 2] - boxes[:, 0])[:, None]
    own = gts(0)[stage.positive_gt] / case.SCALE
    expected = bbox_overlaps(boxes, own, is_aligned=True).mean()
    np.testing.assert_allclose(stage.overlaps[1], expected, rtol=1e-4)
    assert stage.overlaps[1] != pytest.approx(stage.overlaps[0], rel=1e-3)


def test_known_scores_of_a_softmax():
    detector = case.variant('ssd')
    for conv in detector.model.bbox_head.cls_convs:
        # Half of it is background, which does not count.
        constant(conv[-1], [math.log(0.12), math.log(0.38), math.log(0.5)])
    for conv in detector.model.bbox_head.reg_convs:
        constant(conv[-1], [0.0] * 4)
    stage = stages(detector)[0]['bbox_head']
    assert np.flatnonzero(stage.histograms.sum(0)).tolist() == [int(0.38 * SCORE_BINS)]
    assert stage.overlaps[1] == pytest.approx(stage.overlaps[0], rel=1e-5)


@pytest.mark.parametrize('family', ['yolo', 'yolo_iou'])
def test_known_scores_and_boxes_of_yolo(family):
    detector = case.variant(family)
    head = detector.model.bbox_head
    for conv in head.convs_pred:
        # Of a cell: the middle, the anchor's size, objectness 0.8, classes 0.1 and 0.9.
        constant(conv, [0.0, 0, 0, 0, math.log(4), math.log(1 / 9), math.log(9)])
    stage = stages(detector)[0]['bbox_head']
    assert np.flatnonzero(stage.histograms.sum(0)).tolist() == [int(0.72 * SCORE_BINS)]
    assert stage.overlaps[1] == pytest.approx(stage.overlaps[0], rel=1e-5)
    # Half a stride to the right, and e times as wide.
    for conv in head.convs_pred:
        constant(conv, [30.0, 0, 1, 0, 0, 0, 0])
    stage = stages(detector)[0]['bbox_head']
    levels = head.prior_generator.grid_priors(SIZES['yolo'], device='cpu')
    boxes = torch.from_numpy(stage.positives) * case.SCALE
    match = bbox_overlaps(boxes, torch.cat(levels)).argmax(1)
    strides = torch.cat([torch.full((len(level),), stride) for level, stride in zip(levels, (32, 16, 8), strict=True)])
    middle = (boxes[:, 0] + boxes[:, 2]) / 2 + 0.5 * strides[match]
    half = (boxes[:, 2] - boxes[:, 0]) / 2 * math.e
    boxes[:, 0], boxes[:, 2] = middle - half, middle + half
    expected = bbox_overlaps(boxes, gts(0)[stage.positive_gt], is_aligned=True).mean()
    np.testing.assert_allclose(stage.overlaps[1], expected, rtol=1e-4)


def test_a_loss_with_an_activation_of_its_own():
    detector = case.variant('retina')
    head = detector.model.bbox_head
    head.loss_cls.custom_cls_channels = True
    head.loss_cls.get_activation = lambda rows: torch.full_like(rows, 0.22)
    assert np.flatnonzero(stages(detector)[0]['bbox_head'].histograms.sum(0)).tolist() == [4]


def test_deltas_of_another_kind_have_no_overlap_afterwards():
    detector = case.variant('retina')
    detector.model.bbox_head.bbox_coder.__class__ = type('Other', (), {'encode_size': 4, 'encode': lambda *_: _[1] * 0})
    stage = stages(detector)[0]['bbox_head']
    assert np.isnan(stage.overlaps).tolist() == [False, True]


def test_what_cannot_be_told():
    head = case.detector('retina').model.bbox_head
    meta, scale = {'img_shape': (96, 128), 'pad_shape': (96, 128)}, torch.ones(4)

    def tell(matchings, outputs):
        return prior_stage(head, 0, matchings, outputs, meta, scale)

    class Matching:
        gt_inds = torch.zeros(7).long()
        gts = priors = torch.zeros(7, 4)
        sampled = None

    assert tell([], []) == 'its losses did not call its assigner'
    assert tell([Matching], []) == 'its losses did not call its assigner'
    points = SimpleNamespace(prior_generator=MlvlPointGenerator([8]))
    reason = prior_stage(points, 0, [Matching], [()], meta, scale)
    assert reason == 'its priors are those of MlvlPointGenerator, which are no boxes'
    odd = [torch.zeros(1, 5, *size) for size in MAPS]
    assert tell([Matching], [(odd, odd)]) == 'its maps are not laid out as those of AnchorHead'
    maps = [torch.zeros(1, 4, *size) for size in MAPS]
    assert tell([Matching], [(maps, maps)]) == 'it matched other priors than those of its anchor generator'
