"""Checks of what a loss is given."""

import pytest
import torch
from mmdet.registry import MODELS
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.losses.entry_checks import check_labels, check_shape, check_takes_labels, entry_weights


def test_shapes():
    check_shape('Loss', 'target', torch.zeros(2, 3), [(2,), (2, 3)])
    with pytest.raises(ValueError, match=r'Loss: target must have the shape \(2,\) or \(2, 1\), got \(2, 3\)'):
        check_shape('Loss', 'target', torch.zeros(2, 3), [(2,), (2, 1)])


def test_labels():
    labels = torch.tensor([0, 3, 9])
    check_labels('Loss', labels, None, 9)
    check_labels('Loss', labels, torch.tensor([True, True, False]), 3)
    with pytest.raises(ValueError, match=r'Loss: labels must be in 0 ... 2 where the weight is above 0, got 3'):
        check_labels('Loss', labels, None, 2)


def test_labels_on_a_device_are_not_looked_at_by_the_host():
    check_labels('Loss', torch.zeros(3, dtype=torch.long, device='meta'), None, 2)


def test_weights():
    pred = torch.zeros(2, 3)
    assert entry_weights('Loss', pred, None, torch.float32) == (None, None)
    for shape in ((2, 3), (2,), (2, 1)):
        given = torch.tensor([0.5, -1.0]).view(2, *[1] * (len(shape) - 1)).expand(shape)
        weight, valid = entry_weights('Loss', pred, given, torch.float64)
        assert weight.dtype == torch.float64
        assert_close(weight.expand(2, 3), torch.tensor([[0.5], [0.0]], dtype=torch.float64).expand(2, 3))
        assert_close(valid.expand(2, 3), torch.tensor([[True], [False]]).expand(2, 3))
    assert entry_weights('Loss', torch.zeros(4), torch.ones(4, dtype=torch.bool), torch.float32)[0].shape == (4, 1)
    with pytest.raises(ValueError, match=r'Loss: weight must have the shape \(2,\) or \(2, 1\), got \(2, 3\)'):
        entry_weights('Loss', pred, torch.zeros(2, 3), torch.float32, per_row=True)
    with pytest.raises(ValueError, match=r'Loss: weight must have the shape \(4,\), got \(3,\)'):
        entry_weights('Loss', torch.zeros(4), torch.zeros(3), torch.float32)


@pytest.mark.parametrize('kind', ['GaussianFocalLoss', 'QualityFocalLoss', 'VarifocalLoss'])
def test_losses_of_soft_targets(kind):
    wrapper = nn.Module()
    wrapper.loss = MODELS.build(dict(type=kind))
    for loss in (wrapper.loss, wrapper):
        with pytest.raises(ValueError, match=f'^Head: loss_cls={kind} wants soft targets, .* losses of labels: Cross'):
            check_takes_labels('Head', 'loss_cls', loss)
    for kind_of_labels in ('CrossEntropyLoss', 'FocalLoss', 'GHMCLoss'):
        check_takes_labels('Head', 'loss_cls', MODELS.build(dict(type=kind_of_labels)))
