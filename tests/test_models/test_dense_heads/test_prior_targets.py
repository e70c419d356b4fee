"""Targets of a batch, from assignments by hand."""

import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmdet.models.task_modules.samplers import PseudoSampler, RandomSampler
from mmdet.structures.bbox import HorizontalBoxes

from mmdet_ext.models.dense_heads.prior_targets import match_priors

from .dense_case import images

PRIORS = torch.arange(6.0)[:, None] * 10 + torch.tensor([0.0, 0, 8, 8])
GTS = [dict(bboxes=[[1.0, 1, 7, 7], [41, 41, 48, 49]], labels=[2, 0]), dict(bboxes=[[30.0, 30, 36, 38]], labels=[1])]


class Fixed:
    """Gives these assignments, one image after the other, and keeps what it saw."""

    def __init__(self, *rows):
        self.rows, self.seen = list(rows), []

    def assign(self, pred_instances, gt_instances, gt_instances_ignore=None):
        self.seen.append((pred_instances, gt_instances_ignore))
        inds = torch.tensor(self.rows[len(self.seen) - 1])
        labels = (
            torch.where(inds > 0, gt_instances.labels[(inds - 1).clamp(min=0)], -1) if len(gt_instances) else inds - 1
        )
        return AssignResult(len(gt_instances), inds, torch.zeros(len(inds)), labels)


def match(assigner, sampler=None, gts=GTS, inside=(None, None), **options):
    inputs = images(*gts, ignored=options.pop('ignored', None))
    return match_priors(
        assigner,
        sampler or PseudoSampler(),
        options.pop('priors', PRIORS),
        inside,
        inputs['batch_gt_instances'],
        inputs['batch_gt_instances_ignore'],
        3,
        **options,
    )


def test_whole_images():
    targets = match(Fixed([1, 0, 0, -1, 2, 2], [0, 0, -1, 1, 0, 0]))
    assert targets.labels.tolist() == [[2, 3, 3, 3, 0, 0], [3, 3, 3, 1, 3, 3]]
    assert targets.label_weights.tolist() == [[1, 1, 1, 0, 1, 1], [1, 1, 0, 1, 1, 1]]
    assert targets.pos_inds.tolist() == [0, 4, 5, 9]
    assert targets.pos_priors.tolist() == PRIORS[[0, 4, 5, 3]].tolist()
    boxes = GTS[0]['bboxes']
    assert targets.pos_gt_bboxes.tolist() == [boxes[0], boxes[1], boxes[1], GTS[1]['bboxes'][0]]
    assert (targets.num_pos, targets.num_neg, targets.num_ignored, targets.num_sampled) == (4, 6, 2, 4)
    assert len(targets.sampling_results) == 2


def test_part_of_an_image():
    """Indices come back as those of all priors; what lies outside has no weight and is not counted."""
    assigner = Fixed([0, 1, -1], [0, 0, 0, 1, 0, 0])
    targets = match(assigner, inside=(torch.tensor([1, 3, 4]), None), extras=[dict(level_ids=torch.arange(6))] * 2)
    assert assigner.seen[0][0].level_ids.tolist() == [1, 3, 4]
    assert assigner.seen[0][0].priors.tolist() == PRIORS[[1, 3, 4]].tolist()
    assert targets.pos_inds.tolist() == [3, 9]
    assert targets.labels[0].tolist() == [3, 3, 3, 2, 3, 3]
    assert targets.label_weights[0].tolist() == [0, 1, 0, 1, 0, 0]
    assert (targets.num_pos, targets.num_neg, targets.num_ignored) == (2, 6, 1)


def test_ignored_regions_are_handed_on():
    assigner = Fixed([0] * 6, [0] * 6)
    match(assigner, ignored=[None, dict(bboxes=[[1.0, 2, 3, 4]])])
    assert assigner.seen[0][1] is None
    assert assigner.seen[1][1].bboxes.tolist() == [[1, 2, 3, 4]]


def test_empty_images():
    targets = match(Fixed([0] * 6, [0] * 6), gts=[dict(bboxes=[], labels=[])] * 2)
    assert targets.pos_inds.shape == (0,)
    assert targets.pos_gt_bboxes.shape == targets.pos_priors.shape == (0, 4)
    assert (targets.num_pos, targets.num_neg, targets.num_ignored, targets.num_sampled) == (0, 12, 0, 0)


@pytest.mark.parametrize(('pos_weight', 'expected'), [(-1, 1), (0, 1), (2.5, 2.5)])
def test_pos_weight(pos_weight, expected):
    targets = match(Fixed([1, 0, 0, -1, 2, 2], [0] * 6), pos_weight=pos_weight)
    assert targets.label_weights[0].tolist() == [expected, 1, 1, 0, expected, expected]


def test_sampled_negatives_are_counted():
    sampler = RandomSampler(num=4, pos_fraction=0.5, add_gt_as_proposals=False)
    targets = match(Fixed([1, 0, 0, -1, 2, 2], [0, 0, 0, 1, 0, 0]), sampler)
    assert (targets.num_pos, targets.num_neg, targets.num_ignored, targets.num_sampled) == (3, 4 + 1, 4, 8)
    assert targets.label_weights.sum() == 8


def test_boxes_of_a_type():
    plain = match(Fixed([1, 0, 0, -1, 2, 2], [0] * 6))
    typed = match(Fixed([1, 0, 0, -1, 2, 2], [0] * 6), priors=HorizontalBoxes(PRIORS))
    assert isinstance(typed.pos_priors, torch.Tensor)
    assert torch.equal(typed.pos_priors, plain.pos_priors)
