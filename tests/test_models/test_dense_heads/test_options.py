"""What a loss says about its activation, and losses that no head here can use."""

import pytest
from mmdet.registry import MODELS, TASK_UTILS
from torch import nn

from mmdet_ext.models.dense_heads.options import check_assigner, check_loss, check_sampler, uses_sigmoid


def loss(**cfg):
    return MODELS.build(cfg)


@pytest.mark.parametrize(
    ('cfg', 'expected'),
    [
        (dict(type='CrossEntropyLoss'), False),
        (dict(type='CrossEntropyLoss', use_sigmoid=True), True),
        (dict(type='FocalLoss'), True),
        (dict(type='GHMCLoss'), True),
        (dict(type='GHMCLoss', use_sigmoid=False), False),
        (dict(type='OHEMLoss', loss=dict(type='CrossEntropyLoss')), False),
        (dict(type='OHEMLoss', loss=dict(type='FocalLoss')), True),
    ],
)
def test_uses_sigmoid(cfg, expected):
    assert uses_sigmoid(loss(**cfg), 'loss_cls', 'Head') is expected


def test_a_wrapper_that_says_nothing():
    wrapper = nn.Module()
    wrapper.loss = loss(type='FocalLoss')
    assert uses_sigmoid(wrapper, 'loss_cls', 'Head') is True


@pytest.mark.parametrize(
    ('module', 'message'),
    [
        (nn.Identity(), 'loss_cls=Identity has no attribute use_sigmoid'),
        (loss(type='FocalLoss', activated=True), 'loss_cls=FocalLoss has activated=True, but gets logits'),
        (loss(type='SeesawLoss'), 'loss_cls=SeesawLoss brings an activation of its own'),
    ],
)
def test_unknown_activation(module, message):
    with pytest.raises(ValueError, match=f'^Head: {message}'):
        uses_sigmoid(module, 'loss_cls', 'Head')


def test_check_loss():
    check_loss(loss(type='GHMCLoss', scope='batch'), 'loss_cls', 'Head')
    check_loss(nn.Identity(), 'loss_cls', 'Head')
    with pytest.raises(ValueError, match=r"Head: loss_bbox has reduction='none', needed is 'mean'.*OHEMLoss"):
        check_loss(loss(type='L1Loss', reduction='none'), 'loss_bbox', 'Head')
    with pytest.raises(ValueError, match=r"Head: loss_cls has scope='level'.*set scope='batch', or use .* RetinaHead"):
        check_loss(loss(type='GHMCLoss', scope='level'), 'loss_cls', 'Head')


def test_check_sampler():
    check_sampler(None, 'Head')
    sampler = nn.Module()
    sampler.add_gt_as_proposals = True
    with pytest.raises(ValueError, match='Head: Module adds ground truth to the priors'):
        check_sampler(sampler, 'Head')
    sampler.add_gt_as_proposals = False
    check_sampler(sampler, 'Head')


@pytest.mark.parametrize(
    'cfg',
    [
        dict(type='YOLOAssigner'),
        dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4),
        dict(type='GridAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5),
        dict(type='CenterRegionAssigner', pos_scale=0.2, neg_scale=0.2),
    ],
)
def test_assigners_of_priors_and_ground_truth(cfg):
    check_assigner(TASK_UTILS.build(cfg), 'Head')


def test_names_of_parameters_are_free():
    class Own:
        def assign(self, pred, truth, ignored, score=0.5, *, device='cpu', **kwargs):
            """Any."""

    check_assigner(Own(), 'Head')


@pytest.mark.parametrize('cfg', [dict(type='ATSSAssigner', topk=9), dict(type='RegionAssigner')])
def test_assigners_that_want_more(cfg):
    with pytest.raises(ValueError, match=f'Head: {cfg["type"]}.assign takes pred_instances, .*; use YOLOAssigner'):
        check_assigner(TASK_UTILS.build(cfg), 'Head')
