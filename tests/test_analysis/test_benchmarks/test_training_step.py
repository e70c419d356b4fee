"""The training steps that are timed, on small images and small detectors."""

import copy

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope

from mmdet_ext.analysis.benchmarks.training_step import GPU_STEP_CASES, TRAINING_STEP_CASES, _classes
from mmdet_ext.engine.config_file import read_config

CASES = {case.name: case for case in (*TRAINING_STEP_CASES, *GPU_STEP_CASES)}
CPU = torch.device('cpu')


def shrink(cfg):
    model = cfg.model
    channels = [8, 16, 32, 64]
    model.backbone.update(depth=18, base_channels=8)
    starts = len(channels) - len(model.neck.in_channels)
    model.neck.update(in_channels=channels[starts:], out_channels=16)
    for head in ('rpn_head', 'bbox_head'):
        if head in model:
            model[head].update(in_channels=16, feat_channels=16)
    if 'roi_head' in model:
        model.roi_head.bbox_roi_extractor.out_channels = 16
        model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32)
        model.train_cfg.rcnn.sampler.num = 64
    return cfg


def small(name, shrink=shrink):
    case = copy.copy(CASES[name])
    case.size, case.shrink = (96, 128), shrink
    return case


def test_a_step_of_both():
    case = small('relation-step')
    ours, plain = case.prepare(CPU, 0)
    first, other = ours(), plain()
    case.check(first, other)
    assert {'loss_cls_base', 'loss_bbox_base'} <= set(first)
    assert not {'loss_cls_base', 'loss_bbox_base'} & set(other)
    # A warm start: before it has learnt the enhanced classifier is the plain one.
    torch.testing.assert_close(first['loss_cls'], other['loss_cls'])
    # The optimizer moved the weights, the random numbers stay.
    assert ours()['loss_cls'] != first['loss_cls']
    assert case.work(plain).flops > 1e6


def test_what_is_fast_on_a_cpu_gives_the_same():
    plain_step, fast_step = (small(name).prepare(CPU, 0) for name in ('relation-step', 'relation-step-fast'))
    (losses, _), (fast, plain) = ([step() for step in steps] for steps in (plain_step, fast_step))
    CASES['relation-step-fast'].check(fast, plain)
    for name in ('loss_cls', 'loss_bbox', 'loss_cls_base', 'loss_bbox_base'):
        torch.testing.assert_close(fast[name], losses[name], rtol=1e-4, atol=1e-5)


def test_batches_and_half_precision():
    case = small('relation-step-8-bf16')
    assert case.title.endswith(', 8 x 1344 x 800 pixels, bfloat16')
    ours, plain = case.prepare(CPU, 0)
    losses = ours()
    case.check(losses, plain())
    assert losses['loss_cls'] != small('relation-step-8-fp32').prepare(CPU, 0)[0]()['loss_cls']
    # Eight images are eight times the work.
    one, eight = (small(f'relation-step-{batch}-fp32') for batch in (1, 8))
    flops = [case.work(case.prepare(CPU, 0)[0]).flops for case in (one, eight)]
    assert flops[1] == pytest.approx(8 * flops[0], rel=0.1)


def test_other_proposals_are_an_error():
    case = small('relation-step')
    ours, plain = case.prepare(CPU, 0)
    losses, others = ours(), plain()
    losses['loss_rpn_bbox'][0] = losses['loss_rpn_bbox'][0] + 1
    with pytest.raises(ValueError, match=r'relation-step: loss_rpn_bbox is .* in ours and .* in plain Faster R-CNN'):
        case.check(losses, others)
    others['loss_cls'] = others['loss_cls'] * float('nan')
    with pytest.raises(ValueError, match='relation-step: loss_cls is nan'):
        case.check(losses, others)


def test_too_few_proposals_are_an_error():
    def few(cfg):
        shrink(cfg).model.train_cfg.rcnn.sampler.num = 2000
        return cfg

    ours, _ = small('relation-step', few).prepare(CPU, 0)
    with pytest.raises(ValueError, match='not enough proposals for 2000 RoIs'):
        ours()


def test_faces_come_with_landmarks():
    case = small('face-step')
    ours, plain = case.prepare(CPU, 0)
    losses = ours()
    case.check(losses, plain())
    assert losses['loss_landmark'] > 0


def test_the_relation_is_what_a_user_gets_by_default():
    cfg = read_config(CASES['relation-step'].configs[0][0])
    cfg.merge_from_dict(CASES['relation-step'].configs[0][1])
    head = cfg.model.roi_head.bbox_head
    assert head.type == 'RelationBBoxHead'
    assert 'base_head' not in head
    assert [relation.type for relation in head.relations] == ['GeometryAttentionRelation']


@pytest.mark.parametrize('name', CASES)
def test_both_detectors_build(name):
    init_default_scope('mmdet')
    classes = []
    for config, options in CASES[name].configs:
        cfg = read_config(config)
        cfg.merge_from_dict(options)
        cfg.model.backbone.init_cfg = None
        with torch.device('meta'):
            classes.append(_classes(MODELS.build(cfg.model)))
    assert classes[0] == classes[1]
