"""What a relation box head learns from: names, values, and no parameter left out."""

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.models.roi_heads.bbox_heads import bbox_loss

from ...relation_case import GEOMETRY
from .head_case import COUNT, FUSED, NUM_CLASSES, TRAIN_CFG, build_head, make_rois, make_samples, plain_twin

fusions = pytest.mark.parametrize('fusion', ['concat', 'add', 'gate'])
inserts = pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])


def total_loss(head, x, ctx, positives):
    losses = head.loss(head(x, ctx), ctx.rois, make_samples(ctx, positives), TRAIN_CFG)
    return losses, sum(value for key, value in losses.items() if 'loss' in key)


@fusions
@inserts
@pytest.mark.parametrize('options', [{}, dict(reg_source='base'), dict(base_head=False), dict(base_loss_weight=0.0)])
@pytest.mark.parametrize(
    ('counts', 'positives'), [((6, 4), (2, 3)), ((6, 4), (0, 0)), ((0, 0), (0, 0)), ((0, 3), (0, 1))]
)
def test_no_parameter_is_unused(fusion, insert, options, counts, positives):
    head = build_head(FUSED, fusion=fusion, insert=insert, **options)
    x, ctx = make_rois(counts)
    _, total = total_loss(head, x, ctx, positives)
    assert torch.isfinite(total)
    total.backward()
    unused = [name for name, parameter in head.named_parameters() if parameter.grad is None]
    assert unused == []


@pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])
@pytest.mark.parametrize('counts', [(6, 4), (0,)])
def test_no_parameter_of_scored_relations_is_unused(insert, counts):
    graph = dict(type='CategoryGraphRelation', learnable=True, num_classes=NUM_CLASSES)
    head = build_head([GEOMETRY, COUNT, graph], insert=insert)
    x, ctx = make_rois(counts)
    total_loss(head, x, ctx, [0] * len(counts))[1].backward()
    assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []


def test_names():
    def names(**options):
        x, ctx = make_rois()
        return set(total_loss(build_head(FUSED, **options), x, ctx, (2, 3))[0])

    assert names() == {'loss_cls', 'loss_bbox', 'acc', 'loss_cls_base', 'loss_bbox_base', 'acc_base'}
    assert names(base_head=False) == {'loss_cls', 'loss_bbox', 'acc'}
    assert names(reg_source='base') == {'loss_cls', 'acc', 'loss_cls_base', 'loss_bbox_base', 'acc_base'}


def test_values():
    x, ctx = make_rois()
    head, samples = build_head(FUSED, base_loss_weight=0.5), make_samples(ctx)
    out = head(x, ctx)
    losses = head.loss(out, ctx.rois, samples, TRAIN_CFG)
    plain = plain_twin(head)
    targets = plain.get_targets(samples, TRAIN_CFG)
    enhanced = plain.loss(out.cls_score, out.bbox_pred, ctx.rois, *targets)
    base = plain.loss(out.base_cls_score, out.base_bbox_pred, ctx.rois, *targets)
    expected = {**enhanced, 'loss_cls_base': base['loss_cls'] / 2, 'loss_bbox_base': base['loss_bbox'] / 2}
    assert_close(losses, {**expected, 'acc_base': base['acc']})


def test_the_only_regressor_loses_once_and_in_full():
    x, ctx = make_rois()
    head, samples = build_head(FUSED, reg_source='base', base_loss_weight=0.25), make_samples(ctx)
    calls = []
    head.loss_bbox.register_forward_hook(lambda *args: calls.append(args))
    out = head(x, ctx)
    losses = head.loss(out, ctx.rois, samples, TRAIN_CFG)
    assert len(calls) == 1
    plain = plain_twin(head)
    expected = plain.loss(out.base_cls_score, out.bbox_pred, ctx.rois, *plain.get_targets(samples, TRAIN_CFG))
    assert_close(losses['loss_bbox_base'], expected['loss_bbox'])
    assert_close(losses['loss_cls_base'], expected['loss_cls'] / 4)


@pytest.mark.parametrize('options', [{}, dict(reg_source='base'), dict(base_head=False)])
@pytest.mark.parametrize('counts', [(6, 4), (0, 0)])
def test_both_classifiers_share_one_reduction(options, counts, monkeypatch):
    calls = []
    monkeypatch.setattr(bbox_loss, 'reduce_mean', lambda x: calls.append(x) or x)
    x, ctx = make_rois(counts)
    total_loss(build_head(FUSED, **options), x, ctx, (0, 0))
    assert [x.tolist() for x in calls] == [[sum(counts)] * 2]


def test_background_weight():
    x, ctx = make_rois()
    head = build_head(FUSED, bg_weight=0.2)
    out = head(x, ctx)
    losses = head.loss(out, ctx.rois, make_samples(ctx), TRAIN_CFG)
    labels = torch.tensor([0, 1] + [NUM_CLASSES] * 4 + [0, 1, 2] + [NUM_CLASSES])
    weight = torch.where(labels == NUM_CLASSES, 0.2, 1.0)
    for score, name in ((out.cls_score, 'loss_cls'), (out.base_cls_score, 'loss_cls_base')):
        plain = torch.nn.functional.cross_entropy(score, labels, reduction='none')
        # Divided by the number of RoIs, not by the sum of their weights.
        assert_close(losses[name], (weight * plain).sum() / 10)
