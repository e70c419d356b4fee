"""The training step that is timed, on a small image and a small detector."""

import pytest
import torch

from mmdet_ext.analysis.benchmarks.relation_step import RelationStepCase, relation_config


def shrink(cfg):
    model = cfg.model
    model.backbone.update(depth=18, base_channels=8)
    model.neck.update(in_channels=[8, 16, 32, 64], out_channels=16)
    model.rpn_head.update(in_channels=16, feat_channels=16)
    model.roi_head.bbox_roi_extractor.out_channels = 16
    model.roi_head.bbox_head.update(in_channels=16, fc_out_channels=32)
    model.train_cfg.rcnn.sampler.num = 64
    return cfg


def prepared(seed=0):
    case = RelationStepCase((96, 128), shrink)
    return case, *case.prepare(torch.device('cpu'), seed)


def test_a_step_of_both():
    case, ours, plain = prepared()
    first, other = ours(), plain()
    case.check(first, other)
    assert {'loss_cls_base', 'loss_bbox_base'} <= set(first)
    assert not {'loss_cls_base', 'loss_bbox_base'} & set(other)
    # A warm start: before it has learnt the enhanced classifier is the plain one.
    torch.testing.assert_close(first['loss_cls'], other['loss_cls'])
    # The optimizer moved the weights, the random numbers stay.
    assert ours()['loss_cls'] != first['loss_cls']


def test_other_proposals_are_an_error():
    case, ours, plain = prepared()
    losses = ours()
    losses['loss_rpn_bbox'][0] = losses['loss_rpn_bbox'][0] + 1
    with pytest.raises(ValueError, match=r'relation-step: loss_rpn_bbox is .* with relations and'):
        case.check(losses, plain())


def test_too_few_proposals_are_an_error():
    def few(cfg):
        shrink(cfg).model.train_cfg.rcnn.sampler.num = 2000
        return cfg

    ours, _ = RelationStepCase((96, 128), few).prepare(torch.device('cpu'), 0)
    with pytest.raises(ValueError, match='not enough proposals for 2000 RoIs'):
        ours()


def test_the_head_is_what_a_user_gets_by_default():
    head = relation_config().model.roi_head.bbox_head
    assert head.type == 'RelationBBoxHead'
    assert 'base_head' not in head
    assert [relation.type for relation in head.relations] == ['GeometryAttentionRelation']
