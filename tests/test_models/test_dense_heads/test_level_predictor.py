"""Convolutions of one level."""

import pytest
import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule
from torch.testing import assert_close

from mmdet_ext.models.dense_heads.level_predictor import LevelPredictor


@pytest.mark.parametrize('shared', [0, 2])
@pytest.mark.parametrize('stacked', [0, 1])
def test_shapes_and_widths(shared, stacked):
    predictor = LevelPredictor(4, 6, shared, stacked, 9, 12)
    scores, deltas = predictor(torch.randn(2, 4, 5, 7))
    assert (scores.shape, deltas.shape) == ((2, 9, 5, 7), (2, 12, 5, 7))
    convs = [module for module in predictor.modules() if isinstance(module, ConvModule)]
    assert len(convs) == shared + 2 * stacked
    assert predictor.conv_cls.in_channels == predictor.conv_reg.in_channels == (6 if shared or stacked else 4)
    (scores.sum() + deltas.sum()).backward()
    assert all(value.grad is not None for value in predictor.parameters())


@pytest.mark.parametrize('shared', [0, 2])
@pytest.mark.parametrize('stacked', [0, 1])
@pytest.mark.parametrize('kernel', [1, 3])
def test_landmarks(shared, stacked, kernel):
    predictor = LevelPredictor(4, 6, shared, stacked, 9, 12, landmark_channels=20, kernel_size=kernel)
    maps = predictor(torch.randn(2, 4, 5, 7))
    assert [tuple(x.shape) for x in maps] == [(2, 9, 5, 7), (2, 12, 5, 7), (2, 20, 5, 7)]
    assert len([module for module in predictor.modules() if isinstance(module, ConvModule)]) == shared + 3 * stacked
    assert predictor.conv_landmark.kernel_size == predictor.conv_reg.kernel_size == (kernel, kernel)
    maps[2].sum().backward()
    assert predictor.conv_landmark.weight.grad is not None
    assert predictor.conv_reg.weight.grad is None
    assert all(value.grad is None for value in predictor.reg_convs.parameters())
    sum(x.sum() for x in predictor(torch.randn(2, 4, 5, 7))).backward()
    assert all(value.grad is not None for value in predictor.parameters())


def test_towers_are_apart():
    predictor = LevelPredictor(4, 4, 0, 1, 2, 4)
    predictor(torch.randn(1, 4, 3, 3))[0].sum().backward()
    assert predictor.reg_convs[0].conv.weight.grad is None
    assert predictor.conv_reg.weight.grad is None


def test_conv_norm_and_activation():
    predictor = LevelPredictor(
        4, 4, 1, 1, 2, 4, None, dict(type='Conv2dAdaptivePadding'), dict(type='GN', num_groups=2), dict(type='SiLU')
    )
    assert [type(module).__name__ for module in predictor.shared_convs[0].children()] == [
        'Conv2dAdaptivePadding',
        'GroupNorm',
        'SiLU',
    ]


class Parent(BaseModule):
    def __init__(self, prior):
        super().__init__(dict(type='Constant', layer='Conv2d', val=3.0, bias=5.0))
        self.predictor = LevelPredictor(4, 4, 0, 0, 2, 4, prior)


@pytest.mark.parametrize('prior', [None, 0.25])
def test_the_prior_comes_after_the_heads_initialisation(prior):
    parent = Parent(prior)
    parent.init_weights()
    predictor = parent.predictor
    assert_close(predictor.conv_cls.weight, torch.full_like(predictor.conv_cls.weight, 3.0))
    assert_close(predictor.conv_reg.bias, torch.full((4,), 5.0))
    scores = predictor.conv_cls.bias.sigmoid()
    assert_close(scores, torch.full((2,), 5.0).sigmoid() if prior is None else torch.full((2,), prior))
