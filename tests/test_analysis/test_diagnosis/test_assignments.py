"""Watching assigners, samplers and heads: only while it lasts, and of every kind of head."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.models.task_modules.assigners import AssignResult
from mmengine.structures import InstanceData

from mmdet_ext.analysis.diagnosis.assignments import watch_stages
from mmdet_ext.analysis.diagnosis.image_losses import image_losses
from tests.test_analysis.test_diagnosis import detector_case as case


def patched(model):
    owners = [model, *model.modules()]
    for head in (getattr(model, name, None) for name in ('rpn_head', 'bbox_head', 'roi_head')):
        for name in ('assigner', 'sampler', 'bbox_assigner', 'bbox_sampler'):
            part = getattr(head, name, None)
            owners += part if isinstance(part, list) else [part] if part is not None else []
    names = {'assign', 'sample', 'loss_by_feat', '_bbox_forward'}
    return [owner for owner in owners if names & vars(owner).keys()]


@pytest.mark.parametrize('family', ['faster', 'cascade', 'yolo'])
def test_nothing_is_left_behind(family):
    detector = case.variant(family)
    inputs, samples = case.batch(detector, 0)
    plain = image_losses(detector.model, inputs, samples)
    with watch_stages(detector.model, samples[0]):
        assert patched(detector.model)
        assert image_losses(detector.model, inputs, samples) == plain
    assert not patched(detector.model)

    def interrupted():
        with watch_stages(detector.model, samples[0]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not patched(detector.model)


@pytest.mark.parametrize(
    ('family', 'sentence'),
    [
        (
            'fcos',
            'bbox_head is a FCOSHead, which has no anchors and assigner as AnchorHead has: its matching is not shown',
        ),
        (
            'detr',
            'bbox_head is a DETRHead, which has no anchors and assigner as AnchorHead has: its matching is not shown',
        ),
    ],
)
def test_heads_of_another_kind_are_named(family, sentence):
    record = case.record(family, 0)
    assert record.stages == {}
    assert record.limits[0] == sentence
    assert record.losses


def sample():
    return SimpleNamespace(metainfo={'scale_factor': (2.0, 1.0)})


def test_a_detector_without_heads_and_another_roi_head():
    watched = watch_stages(torch.nn.Linear(1, 1), sample())
    limits = []
    with watched:
        pass
    assert watched.records(limits) == {}
    assert limits == ['Linear has no head with anchors or RoIs: no matching is shown']
    model = torch.nn.Module()
    model.roi_head = torch.nn.Identity()
    watched = watch_stages(model, sample())
    limits = []
    watched.records(limits)
    assert limits == ['roi_head is a Identity: its matching is not shown']


def test_a_head_that_was_not_run_is_told_once():
    detector = case.detector('faster')
    _, samples = case.batch(detector, 0)
    with watch_stages(detector.model, samples[0]) as watched:
        pass
    limits = []
    assert watched.records(limits) == {}
    assert limits == ['matching of rpn_head (RPNHead) is not shown: its losses did not call its assigner']
    limits = ['no losses: reason']
    watched.records(limits)
    assert limits == ['no losses: reason']


def test_assigners_are_called_in_several_ways():
    """By place or by name, with more arguments between, and by samplers that put ground truth in front."""
    detector = case.variant('retina')
    head = detector.model.bbox_head
    priors, gts = InstanceData(priors=torch.zeros(3, 4)), InstanceData(bboxes=torch.ones(2, 4), labels=torch.zeros(2))

    class Assigner:
        def assign(self, *args, **kwargs):
            return AssignResult(2, torch.tensor([0, 2, -1]), torch.zeros(3), torch.zeros(3))

    class Sampler:
        def sample(self, result, *args):
            result.add_gt_(torch.zeros(2))
            return 'sampled', 'weights of the samples'

    head.assigner, head.sampler = Assigner(), Sampler()
    watched = watch_stages(detector.model, sample())
    with watched:
        head.sampler.sample(AssignResult(2, torch.zeros(3), torch.zeros(3), torch.zeros(3)))
        head.sampler.sample(head.assigner.assign(priors, [1, 2], gts, None))
        head.assigner.assign(pred_instances=priors, gt_instances=gts)
        head.assigner.assign(InstanceData(bboxes=torch.zeros(3, 4)), gts)
        head.assigner.assign()
    first, second = watched._stages[0].matchings
    assert first.gt_inds.tolist() == second.gt_inds.tolist() == [0, 2, -1]
    assert (first.sampled, second.sampled) == ('sampled', None)
    assert torch.equal(first.gts, gts.bboxes)
