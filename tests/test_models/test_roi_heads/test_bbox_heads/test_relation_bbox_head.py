"""The relation box head: every fusion and insertion, the base classifier, gradients and errors."""

from dataclasses import replace

import pytest
import torch
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.relations import BaseRelation, RelationOutput
from mmdet_ext.models.roi_heads.bbox_heads import RelationBBoxHead

from ...relation_case import GEOMETRY
from .head_case import COUNT, FC, NUM_CLASSES, PLAIN, TRAIN_CFG, build_head, make_rois, make_samples

FUSED = dict(type='RelationSequence', relations=[GEOMETRY])
fusions = pytest.mark.parametrize('fusion', ['concat', 'add', 'gate'])
inserts = pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])


@MODELS.register_module(force=True)
class _LossyRelation(BaseRelation):
    """Passes the features on, with a loss and a map."""

    def __init__(self, in_channels):
        super().__init__(in_channels, in_channels)

    def forward(self, ctx):
        return RelationOutput(ctx.feats, {'edge': ctx.feats.sum()}, {'seen': ctx.feats.detach()})


def plain_twin(head):
    """mmdet's head with the weights of our base path."""
    plain = MODELS.build(PLAIN)
    weights = {
        key.replace('base_', ''): value for key, value in head.state_dict().items() if 'shared' in key or 'base' in key
    }
    plain.load_state_dict(weights)
    return plain


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


class TestLoss:
    def total(self, head, x, ctx, positives):
        losses = head.loss(head(x, ctx), ctx.rois, make_samples(ctx, positives), TRAIN_CFG)
        return losses, sum(value for key, value in losses.items() if 'loss' in key)

    @fusions
    @inserts
    @pytest.mark.parametrize(
        'options', [{}, dict(reg_source='base'), dict(base_head=False), dict(base_loss_weight=0.0)]
    )
    @pytest.mark.parametrize(
        ('counts', 'positives'), [((6, 4), (2, 3)), ((6, 4), (0, 0)), ((0, 0), (0, 0)), ((0, 3), (0, 1))]
    )
    def test_no_parameter_is_unused(self, fusion, insert, options, counts, positives):
        head = build_head(FUSED, fusion=fusion, insert=insert, **options)
        x, ctx = make_rois(counts)
        _, total = self.total(head, x, ctx, positives)
        assert torch.isfinite(total)
        total.backward()
        unused = [name for name, parameter in head.named_parameters() if parameter.grad is None]
        assert unused == []

    @pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])
    @pytest.mark.parametrize('counts', [(6, 4), (0,)])
    def test_no_parameter_of_scored_relations_is_unused(self, insert, counts):
        graph = dict(type='CategoryGraphRelation', learnable=True, num_classes=NUM_CLASSES)
        head = build_head([GEOMETRY, COUNT, graph], insert=insert)
        x, ctx = make_rois(counts)
        self.total(head, x, ctx, [0] * len(counts))[1].backward()
        assert [name for name, parameter in head.named_parameters() if parameter.grad is None] == []

    def test_names(self):
        def names(**options):
            x, ctx = make_rois()
            return set(self.total(build_head(FUSED, **options), x, ctx, (2, 3))[0])

        assert names() == {'loss_cls', 'loss_bbox', 'acc', 'loss_cls_base', 'loss_bbox_base', 'acc_base'}
        assert names(base_head=False) == {'loss_cls', 'loss_bbox', 'acc'}
        assert names(reg_source='base') == {'loss_cls', 'acc', 'loss_cls_base', 'loss_bbox_base', 'acc_base'}

    def test_values(self):
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

    def test_the_only_regressor_loses_once_and_in_full(self):
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

    def test_background_weight(self):
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


class TestFrozen:
    def test_names(self):
        head = build_head(frozen=['shared_fcs', 'base_fc_cls', 'relations.0'])
        still = {name.split('.')[0] for name, parameter in head.named_parameters() if parameter.requires_grad}
        assert still == {'fc_cls', 'fc_reg', 'base_fc_reg'}

    @pytest.mark.parametrize('name', ['fc_clss', ''])
    def test_unknown(self, name):
        with pytest.raises(ValueError, match=rf"frozen names '{name}'; known are .*'fc_cls'"):
            build_head(frozen=[name])


def test_pooled_features_without_fcs():
    head = build_head(FUSED, num_shared_fcs=0, num_shared_convs=1, conv_out_channels=8, with_avg_pool=True)
    x, ctx = make_rois()
    out = head(x, ctx)
    assert_close(out.base_cls_score, head.base_fc_cls(head.shared_convs[0](x).mean((2, 3))))
    assert head.fc_cls.in_features == 8 + 8
    x, ctx = make_rois((0, 0))
    assert head(x, ctx).cls_score.shape == (0, NUM_CLASSES + 1)


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


def test_without_context():
    with pytest.raises(ValueError, match='use it inside RelationRoIHead'):
        build_head(FUSED)(make_rois()[0])


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(fusion='sum'), r"fusion='sum', allowed are \('concat', 'add', 'gate'\)"),
        (dict(insert='first'), "insert='first', allowed are"),
        (dict(reg_source='both'), "reg_source='both', allowed are"),
        (dict(reg_source='base', base_head=False, relations=FUSED), "reg_source='base' .* set base_head=True"),
        (dict(insert='after_each_fc', num_shared_fcs=0), "insert='after_each_fc' needs num_shared_fcs >= 1"),
        (dict(num_cls_fcs=1, num_reg_convs=2), 'one shared trunk: num_cls_fcs, num_reg_convs must be 0'),
        (dict(with_reg=False), 'with_reg must be True'),
        (dict(with_cls=False), 'with_cls must be True'),
        (dict(num_shared_fcs=0), 'needs a shared layer: num_shared_fcs >= 1 or num_shared_convs >= 1'),
        (dict(num_shared_fcs=0, num_shared_convs=1), 'without extent: num_shared_fcs >= 1 or with_avg_pool=True'),
        (dict(fusion='add'), "fusion='add' needs equal widths"),
        (dict(relations=[]), 'relations is empty'),
        (dict(relations=COUNT, base_head=False), 'ObjectCountRelation needs cls_logits, .* base_head=True'),
        (
            dict(bg_weight=0.5, loss_cls=dict(type='CrossEntropyLoss', class_weight=[1.0] * 4)),
            'bg_weight and loss_cls.class_weight exclude each other',
        ),
        (
            dict(bg_weight=0.5, loss_cls=dict(type='SeesawLoss', num_classes=NUM_CLASSES)),
            'bg_weight needs a loss_cls that takes class_weight',
        ),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        build_head(**options)


def test_two_fcs_are_the_default():
    options = {key: value for key, value in PLAIN.items() if key != 'type'}
    assert len(RelationBBoxHead(FUSED, **options).shared_fcs) == 2


def test_a_users_init_cfg_is_kept():
    given = [dict(type='Constant', val=0.5, override=dict(name='fc_cls'))]
    head = build_head(init_cfg=given)
    head.init_weights()
    assert head.init_cfg == given
    assert (head.fc_cls.weight == 0.5).all()
