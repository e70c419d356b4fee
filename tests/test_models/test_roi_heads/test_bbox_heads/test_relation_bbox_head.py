"""The relation box head: every fusion and insertion, the base classifier, gradients and errors."""

from dataclasses import replace

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import BaseRelation, RelationOutput
from mmdet_ext.models.roi_heads.bbox_heads import RelationBBoxHead

from ...relation_case import GEOMETRY, PART_CONTEXT
from .head_case import (
    COUNT,
    FC,
    FUSED,
    NUM_CLASSES,
    PLAIN,
    TRAIN_CFG,
    build_head,
    build_plain,
    make_rois,
    make_samples,
    plain_twin,
)

fusions = pytest.mark.parametrize('fusion', ['concat', 'add', 'gate'])
inserts = pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])


@MODELS.register_module(force=True)
class _LossyRelation(BaseRelation):
    """Passes the features on, with a loss and a map."""

    def __init__(self, in_channels):
        super().__init__(in_channels, in_channels)

    def forward(self, ctx):
        return RelationOutput(ctx.feats, {'edge': ctx.feats.sum()}, {'seen': ctx.feats.detach()})


@fusions
@inserts
@pytest.mark.parametrize('base_head', [True, False])
@pytest.mark.parametrize('reg_class_agnostic', [True, False])
def test_builds_and_runs(fusion, insert, base_head, reg_class_agnostic):
    head = build_head(FUSED, fusion=fusion, insert=insert, base_head=base_head, reg_class_agnostic=reg_class_agnostic)
    x, ctx = make_rois((6, 0, 4))
    out = head(x, ctx)
    width = 4 if reg_class_agnostic else 4 * NUM_CLASSES
    assert out.cls_score.shape == (10, NUM_CLASSES + 1)
    assert out.bbox_pred.shape == (10, width)
    assert head.has_base_head == base_head
    if base_head:
        assert out.base_cls_score.shape == (10, NUM_CLASSES + 1)
        assert out.base_bbox_pred.shape == (10, width)
    else:
        assert out.base_cls_score is out.base_bbox_pred is None


@inserts
@pytest.mark.parametrize('fusion', ['add', 'gate'])
def test_add_and_gate_start_as_the_plain_head(fusion, insert):
    head = build_head(FUSED, fusion=fusion, insert=insert)
    head.fc_cls.load_state_dict(head.base_fc_cls.state_dict())
    head.fc_reg.load_state_dict(head.base_fc_reg.state_dict())
    x, ctx = make_rois()
    out, expected = head(x, ctx), plain_twin(head)(x)
    assert_close((out.cls_score, out.bbox_pred), expected)


@fusions
@inserts
def test_the_base_classifier_reads_the_plain_path(fusion, insert):
    head = build_head([GEOMETRY, COUNT] if fusion != 'add' else FUSED, fusion=fusion, insert=insert)
    for module in head.fusions.modules():
        for parameter in module.parameters(recurse=False):
            torch.nn.init.normal_(parameter)
    x, ctx = make_rois()
    out = head(x, ctx)
    assert_close((out.base_cls_score, out.base_bbox_pred), plain_twin(head)(x))


@fusions
@inserts
def test_relations_reach_the_scores(fusion, insert):
    head = build_head(FUSED, fusion=fusion, insert=insert).double()
    for parameter in [*head.fusions.parameters(), *head.between.parameters(), head.fc_cls.weight]:
        torch.nn.init.normal_(parameter)
    x, ctx = make_rois((3, 3))
    x, ctx = x.double(), replace(ctx, rois=ctx.rois.double())
    before = head(x, ctx).cls_score
    other = x.clone()
    other[0] += 3
    after = head(other, ctx).cls_score
    assert ((after[1:3] - before[1:3]).abs().amax(1) > 1e-9).all()
    assert_close(after[3:], before[3:])


def test_relations_after_each_fc_come_before_its_relu():
    head = build_head(dict(type='_LossyRelation'), fusion='add', insert='after_each_fc')
    for fusion in head.fusions:
        torch.nn.init.eye_(fusion.project.weight)
    x, ctx = make_rois((3, 2))
    out = head(x, ctx)
    first = head.shared_fcs[0](x.flatten(1))
    second = head.shared_fcs[1]((2 * first).relu())
    assert_close(out.cls_score, head.fc_cls((2 * second).relu()))
    assert_close([out.maps['0.seen'], out.maps['1.seen']], [first, second])
    assert_close(out.losses, {'loss_rel.0.edge': first.sum(), 'loss_rel.1.edge': second.sum()})


def test_concat_after_each_fc_feeds_the_next_fc():
    head = build_head(dict(type='_LossyRelation'), fusion='concat', insert='after_each_fc')
    assert [tuple(layer.weight.shape) for layer in head.between] == [(FC, FC)]
    x, ctx = make_rois((3, 2))
    first = head.shared_fcs[0](x.flatten(1))
    second = head.shared_fcs[1](first.relu()) + head.between[0](first.relu())
    assert_close(head(x, ctx).cls_score, head.fc_cls(torch.cat([second, second], 1).relu()))


def test_losses_and_maps_have_names():
    head = build_head([dict(type='_LossyRelation')])
    x, ctx = make_rois()
    out = head(x, ctx)
    assert list(out.losses) == ['loss_rel.0__LossyRelation.edge']
    assert list(out.maps) == ['0__LossyRelation.seen']
    losses = head.loss(out, ctx.rois, make_samples(ctx), TRAIN_CFG)
    assert losses['loss_rel.0__LossyRelation.edge'] is out.losses['loss_rel.0__LossyRelation.edge']


def test_pool_and_scores_come_from_the_base_classifier():
    head = build_head(dict(type='SoftMappingRelation', out_channels=6))
    seen = []
    head.relations[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x, ctx = make_rois()
    out = head(x, ctx)
    assert_close(seen[0].cls_logits, out.base_cls_score)
    layer = head.base_fc_cls
    assert_close(seen[0].cls_weight, torch.cat([layer.weight, layer.bias[:, None]], dim=1))
    assert seen[0].rois is ctx.rois
    assert ctx.cls_logits is None


class TestRegSource:
    def test_base_has_no_second_regressor(self):
        head = build_head(FUSED, reg_source='base')
        assert head.fc_reg is None
        assert not any(key.startswith('fc_reg') for key in head.state_dict())
        x, ctx = make_rois()
        out = head(x, ctx)
        assert out.bbox_pred is out.base_bbox_pred

    def test_enhanced_boxes_come_from_fused_features(self):
        head = build_head(FUSED)
        assert head.fc_reg.in_features == 2 * FC
        assert head.base_fc_reg.in_features == FC


def test_pooled_features_without_fcs():
    head = build_head(FUSED, num_shared_fcs=0, num_shared_convs=1, conv_out_channels=8, with_avg_pool=True)
    x, ctx = make_rois()
    out = head(x, ctx)
    assert_close(out.base_cls_score, head.base_fc_cls(head.shared_convs[0](x).mean((2, 3))))
    assert head.fc_cls.in_features == 8 + 8
    x, ctx = make_rois((0, 0))
    assert head(x, ctx).cls_score.shape == (0, NUM_CLASSES + 1)


def test_no_shared_layer_as_in_c4():
    head = build_head(FUSED, num_shared_fcs=0, with_avg_pool=True, in_channels=8, num_classes=NUM_CLASSES)
    plain = build_plain(type='BBoxHead', with_avg_pool=True, in_channels=8)
    assert not len(head.shared_fcs)
    assert head.num_shared_fcs == 0
    weights = {key.removeprefix('base_'): x for key, x in head.state_dict().items() if key.startswith('base_')}
    plain.load_state_dict(weights)
    x, ctx = make_rois()
    x = torch.cat([x, -x], dim=1)
    out = head(x, ctx)
    assert_close((out.base_cls_score, out.base_bbox_pred), plain(x))
    assert head.fc_cls.in_features == 8 + 8
    assert head(x[:0], make_rois((0, 0))[1]).cls_score.shape == (0, NUM_CLASSES + 1)


def test_shared_convs():
    head = build_head(FUSED, num_shared_convs=1, num_shared_fcs=1, conv_out_channels=5)
    x, ctx = make_rois()
    hidden = head.shared_fcs[0](head.shared_convs[0](x).flatten(1)).relu()
    assert_close(head(x, ctx).base_cls_score, head.base_fc_cls(hidden))


def test_weights_start_as_in_mmdet_and_relations_as_configured():
    torch.manual_seed(0)
    head = build_head(dict(GEOMETRY, init_cfg=dict(type='Constant', val=0.25, layer='Linear')), fc_out_channels=512)
    assert (head.relations[0].query.weight == 0.25).all()
    for layer, std in ((head.fc_cls, 0.01), (head.base_fc_cls, 0.01), (head.fc_reg, 0.001), (head.base_fc_reg, 0.001)):
        assert layer.weight.std().item() == pytest.approx(std, rel=0.1)
        assert not layer.bias.any()
    plain = MODELS.build({**PLAIN, 'fc_out_channels': 512})
    plain.init_weights()
    assert head.shared_fcs[0].weight.std().item() == pytest.approx(plain.shared_fcs[0].weight.std().item(), rel=0.1)


class TestExternalScores:
    def head(self, **options):
        return build_head(dict(type='SoftMappingRelation', out_channels=6), base_head=False, **options)

    def test_are_used_as_given(self):
        head = self.head(external_scores=True, pool_channels=9)
        x, ctx = make_rois()
        ctx = replace(ctx, cls_logits=torch.randn(10, NUM_CLASSES + 1), cls_weight=torch.randn(NUM_CLASSES + 1, 10))
        seen = []
        head.relations[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        head(x, ctx)
        assert seen[0].cls_logits is ctx.cls_logits
        assert seen[0].cls_weight is ctx.cls_weight

    def test_a_missing_one_is_named(self):
        x, ctx = make_rois()
        with pytest.raises(
            ValueError, match='SoftMappingRelation needs cls_logits, cls_weight in the relation context'
        ):
            self.head(external_scores=True)(x, ctx)

    def test_without_any_source(self):
        with pytest.raises(ValueError, match='cls_logits and cls_weight, which only base_head=True or external_scores'):
            self.head()


def test_needs_and_part_splits_are_those_of_the_relations():
    head = build_head([GEOMETRY, COUNT, PART_CONTEXT, dict(PART_CONTEXT, split=(2, 1))], insert='after_each_fc')
    assert head.part_splits == {(1, 1), (2, 1)}
    assert {'cls_logits', 'parts'} <= head.needs
    assert build_head(FUSED).needs == build_head(FUSED).part_splits == frozenset()


def test_parts_that_no_one_gave():
    x, ctx = make_rois()
    with pytest.raises(ValueError, match=r'PartContextRelation needs .*parts.*; put LoadParts into the pipeline'):
        build_head([PART_CONTEXT])(x, ctx)


def test_without_context():
    with pytest.raises(ValueError, match='use it inside RelationRoIHead'):
        build_head(FUSED)(make_rois()[0])


def test_two_fcs_are_the_default():
    options = {key: value for key, value in PLAIN.items() if key != 'type'}
    assert len(RelationBBoxHead(FUSED, **options).shared_fcs) == 2


def test_a_users_init_cfg_is_kept():
    given = [dict(type='Constant', val=0.5, override=dict(name='fc_cls'))]
    head = build_head(init_cfg=given)
    head.init_weights()
    assert head.init_cfg == given
    assert (head.fc_cls.weight == 0.5).all()
