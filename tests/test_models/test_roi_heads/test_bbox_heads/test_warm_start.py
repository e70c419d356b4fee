"""A relation box head that takes over a plain one: the same logits, an honest report, and nothing taken by mistake."""

import logging
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import load_state_dict
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.roi_heads.bbox_heads import warm_start

from ...relation_case import GEOMETRY, PAIR
from .head_case import COUNT, FC, FUSED, NUM_CLASSES, build_head, build_plain, make_rois

fusions = pytest.mark.parametrize('fusion', ['concat', 'add', 'gate'])
inserts = pytest.mark.parametrize('insert', ['after_fcs', 'after_each_fc'])
sources = pytest.mark.parametrize('options', [{}, dict(reg_source='base'), dict(base_head=False)], ids=str)
# A stage of a cascade: scores come with the context.
STAGE = dict(base_head=False, external_scores=True)
PREDICTORS = ('fc_cls', 'fc_reg', 'base_fc_cls', 'base_fc_reg')


def disturbed(relations=FUSED, **kwargs):
    """A head as if it had learnt something else: no weight is zero by chance."""
    head = build_head(relations, **kwargs)
    for parameter in head.parameters():
        nn.init.normal_(parameter)
    return head


def copied(state):
    return OrderedDict((key, value.clone()) for key, value in state.items())


def keys(items):
    return [key for key, _ in items]


def assert_equal_outputs(head, plain):
    x, ctx = make_rois()
    ctx = replace(ctx, cls_logits=torch.randn(len(x), NUM_CLASSES + 1))
    out, expected = head.eval()(x, ctx), plain.eval()(x)
    assert_close((out.cls_score, out.bbox_pred), expected, rtol=0, atol=1e-5)
    if head.has_base_head:
        assert_close((out.base_cls_score, out.base_bbox_pred), expected, rtol=0, atol=1e-5)


@fusions
@inserts
@sources
@pytest.mark.parametrize('agnostic', [True, False])
def test_begins_as_the_plain_head(fusion, insert, options, agnostic):
    plain = build_plain(reg_class_agnostic=agnostic)
    head = disturbed(fusion=fusion, insert=insert, reg_class_agnostic=agnostic, **options)
    head.load_state_dict(plain.state_dict())
    assert_equal_outputs(head, plain)
    report = head.warm_start_report
    told = keys(report.taken + report.widened + report.zeroed + report.fresh)
    assert sorted(told) == sorted(head.state_dict())
    assert report.dropped == []
    assert all(key.startswith(('relations.', 'fusions.')) for key in keys(report.fresh))
    assert bool(report.widened) == (fusion == 'concat')
    assert bool(report.zeroed) == (fusion != 'concat' or insert == 'after_each_fc')


@pytest.mark.parametrize(
    ('theirs', 'ours'),
    [
        (dict(type='Shared4Conv1FCBBoxHead'), dict(num_shared_convs=4, num_shared_fcs=1)),
        (
            dict(type='Shared4Conv1FCBBoxHead', norm_cfg=dict(type='BN')),
            dict(num_shared_convs=4, num_shared_fcs=1, norm_cfg=dict(type='BN')),
        ),
        (dict(type='BBoxHead', with_avg_pool=True), dict(num_shared_fcs=0, with_avg_pool=True)),
        (dict(loss_cls=dict(type='SeesawLoss', num_classes=NUM_CLASSES)),) * 2,
    ],
    ids=['convs', 'batch norm', 'no shared layer', 'loss with a buffer'],
)
def test_other_trunks(theirs, ours):
    plain, head = build_plain(**theirs), disturbed([GEOMETRY, FUSED], **ours)
    for name, buffer in plain.named_buffers():
        if not name.endswith('tracked'):
            nn.init.uniform_(buffer, 1, 2)
    head.load_state_dict(plain.state_dict())
    assert_equal_outputs(head, plain)
    assert head.warm_start_report.dropped == []
    for name, buffer in plain.named_buffers():
        assert_close(head.get_buffer(name), buffer)


class TestWaysOfLoading:
    """Below a prefix, as in the stages of a cascade, and by every door."""

    def heads(self):
        plain = nn.ModuleDict({'bbox_head': nn.ModuleList([build_plain(), build_plain()])})
        relation = disturbed([PAIR], **STAGE)
        return plain, nn.ModuleDict({'bbox_head': nn.ModuleList([build_plain(), relation])})

    def check(self, plain, ours):
        assert_close(ours.bbox_head[0].state_dict(), plain.bbox_head[0].state_dict())
        assert_equal_outputs(ours.bbox_head[1], plain.bbox_head[1])
        assert ours.bbox_head[1].warm_start_report.prefix == 'bbox_head.1.'

    @pytest.mark.parametrize('load', [nn.Module.load_state_dict, load_state_dict])
    @pytest.mark.parametrize('strict', [True, False])
    def test_state_dicts(self, load, strict):
        plain, ours = self.heads()
        given = plain.state_dict()
        before = copied(given)
        load(ours, given, strict=strict)
        self.check(plain, ours)
        assert list(given) == list(before)
        assert_close(given, before, rtol=0, atol=0)

    def test_the_head_alone(self):
        plain, ours = build_plain(), disturbed()
        given = plain.state_dict()
        load_state_dict(ours, given, strict=True)
        assert_equal_outputs(ours, plain)
        assert list(given) == list(plain.state_dict())

    def test_a_file(self, tmp_path, caplog):
        plain, ours = self.heads()
        state = {f'module.{key}': value for key, value in plain.state_dict().items()}
        torch.save(dict(state_dict=state), tmp_path / 'plain.pth')
        with caplog.at_level(logging.INFO):
            load_checkpoint(ours, str(tmp_path / 'plain.pth'), 'cpu')
        self.check(plain, ours)
        assert 'do not match' not in caplog.text

    @fusions
    def test_assigned_weights_are_not_shared(self, fusion):
        head = disturbed(fusion=fusion)
        head.load_state_dict(build_plain().state_dict(), assign=True)
        storages = [parameter.data_ptr() for parameter in head.parameters()]
        assert len(set(storages)) == len(storages)


class TestUntouched:
    @fusions
    @inserts
    @sources
    def test_a_checkpoint_of_ours(self, fusion, insert, options):
        options = dict(fusion=fusion, insert=insert, **options)
        saved, head = disturbed(**options), disturbed(**options)
        head.load_state_dict(saved.state_dict())
        assert head.warm_start_report is None
        assert_close(head.state_dict(), saved.state_dict(), rtol=0, atol=0)

    @pytest.mark.parametrize('counterpart', ['ours', 'plain'])
    def test_relations_without_weights_leave_no_trace_in_the_names(self, counterpart):
        head, saved = (disturbed([PAIR], **STAGE) for _ in range(2))
        plain = build_plain()
        assert list(head.state_dict()) == list(plain.state_dict())
        if counterpart == 'ours':
            head.load_state_dict(saved.state_dict())
            assert head.warm_start_report is None
            assert_close(head.state_dict(), saved.state_dict(), rtol=0, atol=0)
        else:
            head.load_state_dict(plain.state_dict())
            assert_equal_outputs(head, plain)

    def test_a_later_checkpoint_of_ours_ends_the_report(self):
        head = disturbed()
        head.load_state_dict(build_plain().state_dict())
        assert head.warm_start_report is not None
        head.load_state_dict(head.state_dict())
        assert head.warm_start_report is None

    @pytest.mark.parametrize('kept', ['fc_cls', 'fc_', 'shared_fcs', 'relations'])
    def test_a_part_of_a_state(self, kept):
        head, other = disturbed(fusion='gate'), disturbed(fusion='gate')
        state = {key: value for key, value in other.state_dict().items() if key.startswith(kept)}
        expected = {**copied(head.state_dict()), **state}
        head.load_state_dict(state, strict=False)
        assert head.warm_start_report is None
        assert_close(dict(head.state_dict()), expected, rtol=0, atol=0)

    def test_a_head_of_another_kind(self):
        state = build_plain().state_dict()
        state['attention.in_proj_weight'] = torch.zeros(1)
        head = disturbed()
        with pytest.raises(RuntimeError, match=r'size mismatch for fc_cls\.weight'):
            head.load_state_dict(state)
        assert head.warm_start_report is None


class TestMisfits:
    def load(self, plain, **options):
        """The head, and which of its weights changed."""
        head = disturbed(**options)
        before = copied(head.state_dict())
        head.load_state_dict(plain.state_dict())
        changed = {key for key, value in head.state_dict().items() if not torch.equal(value, before[key])}
        report = head.warm_start_report
        assert changed == set(keys(report.taken + report.widened + report.zeroed))
        assert set(before) - changed == set(keys(report.fresh))
        return head, report

    @fusions
    def test_other_classes(self, fusion):
        _, report = self.load(build_plain(num_classes=8), fusion=fusion)
        fresh = dict(report.fresh)
        layers = {key.split('.')[0] for key in fresh} & set(PREDICTORS)
        assert layers == set(PREDICTORS)
        assert fresh['fc_cls.weight'] == f'fc_cls.weight is (9, {FC}) in the checkpoint where (4, {FC}) would fit'
        assert keys(report.taken) == [f'shared_fcs.{i}.{name}' for i in (0, 1) for name in ('weight', 'bias')]
        assert (
            dict(report.dropped)['fc_reg.weight']
            == f'(32, {FC}): fc_reg.weight is (32, {FC}) in the checkpoint where (12, {FC}) would fit'
        )

    def test_boxes_without_classes_fit_other_classes(self):
        _, report = self.load(build_plain(num_classes=8, reg_class_agnostic=True), reg_class_agnostic=True)
        assert keys(report.widened) == ['fc_reg.weight']
        assert 'base_fc_reg.weight' in keys(report.taken)
        assert sorted(keys(report.dropped)) == ['fc_cls.bias', 'fc_cls.weight']

    def test_another_width(self):
        plain = build_plain(fc_out_channels=24)
        _, report = self.load(plain)
        assert report.taken == report.widened == []
        assert set(keys(report.dropped)) == set(plain.state_dict())
        assert dict(report.dropped)['shared_fcs.0.weight'] == f'(24, 16): the head has ({FC}, 16)'
        assert dict(report.fresh)['fc_cls.bias'] == 'it reads shared_fcs.0.weight, which does not fit'

    @pytest.mark.parametrize(
        ('options', 'misfit'),
        [
            (dict(type='ConvFCBBoxHead', num_shared_fcs=3), 'shared_fcs.2.weight'),
            (dict(type='ConvFCBBoxHead', num_shared_fcs=1), 'shared_fcs.1.weight'),
            (dict(type='ConvFCBBoxHead', num_shared_fcs=2, num_cls_fcs=1), 'cls_fcs.0.weight'),
        ],
    )
    def test_predictors_of_other_features(self, options, misfit):
        _, report = self.load(build_plain(**options))
        why = {reason for key, reason in report.fresh if key.split('.')[0] in PREDICTORS}
        assert why == {f'it reads {misfit}, which does not fit'}
        assert 'shared_fcs.0.weight' in keys(report.taken)
        beyond = [reason for key, reason in report.dropped if key == misfit]
        assert beyond == [f'({FC}, {FC}): the head has no such layer'] * ('1.' not in misfit)

    def test_buffers_of_another_loss(self):
        seesaw = dict(type='SeesawLoss', num_classes=NUM_CLASSES)
        plain, head = build_plain(), build_head(loss_cls=seesaw)
        head.load_state_dict(plain.state_dict())
        report = head.warm_start_report
        assert ('loss_cls.cum_samples', 'not in the checkpoint') in report.fresh
        wide = build_plain(num_classes=8, loss_cls=dict(seesaw, num_classes=8))
        head.load_state_dict(wide.state_dict())
        assert ('loss_cls.cum_samples', '(9,) in the checkpoint where (4,) would fit') in head.warm_start_report.fresh

    def test_predictors_without_what_ours_have(self):
        state = build_plain().state_dict()
        del state['fc_cls.bias']
        head = disturbed()
        head.load_state_dict(state)
        reason = 'fc_cls.bias is missing in the checkpoint where (4,) would fit'
        assert ('fc_cls.weight', reason) in head.warm_start_report.fresh

    @fusions
    def test_predictors_that_scale_with_their_input(self, fusion):
        normed = dict(cls_predictor_cfg=dict(type='NormedLinear'))
        head, plain = disturbed(fusion=fusion, **normed), build_plain(**normed)
        head.load_state_dict(plain.state_dict())
        notes = dict(head.warm_start_report.widened)
        if fusion == 'concat':
            assert 'NormedLinear scales with its whole input' in notes['fc_cls.weight']
            assert notes['fc_reg.weight'] == f'(12, {FC}) to (12, {2 * FC})'
        else:
            assert not notes
            assert_equal_outputs(head, plain)


def test_the_report_is_a_small_table_and_logged_once(monkeypatch):
    logged = []
    monkeypatch.setattr(warm_start, 'print_log', lambda message, logger: logged.append((message, logger)))
    head = build_head([GEOMETRY, COUNT], fusion='gate')
    nn.ModuleDict({'bbox_head': head}).load_state_dict(
        {f'bbox_head.{k}': v for k, v in build_plain().state_dict().items()}
    )
    assert logged == [(str(head.warm_start_report), 'current')]
    title, header, _, *rows = logged[0][0].splitlines()
    assert title == 'Warm start of bbox_head from a plain box head'
    assert header.split() == ['what', 'weight', 'how']
    cells = [' '.join(row.split()) for row in rows]
    assert 'taken base_fc_cls.weight (4, 16) of fc_cls.weight' in cells
    assert 'zeroed fusions.0.gate (16,)' in cells
    assert 'fresh relations.0.* not in a plain head, 12 tensors' in cells
    assert len(cells) < 20
    head.load_state_dict(build_plain().state_dict())
    assert str(head.warm_start_report).startswith('Warm start of the box head from')


@fusions
def test_frozen_weights_are_taken_too(fusion):
    head, plain = disturbed(fusion=fusion, frozen=['shared_fcs', 'base_fc_cls']), build_plain()
    head.load_state_dict(plain.state_dict())
    assert_equal_outputs(head, plain)
    assert not head.shared_fcs[0].weight.requires_grad
    assert head.fc_cls.weight.requires_grad
