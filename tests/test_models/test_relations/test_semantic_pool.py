"""The pool of class weights, and the shares of the classes."""

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.models.relations.semantic_pool import class_shares, semantic_pool


def test_the_pool_is_weight_and_bias():
    weight = torch.randn(4, 6, requires_grad=True)
    assert_close(semantic_pool(weight, 5, bias=True, detach=False, owner='X'), weight)
    without = semantic_pool(weight, 5, bias=False, detach=True, owner='X')
    assert_close(without, weight.detach()[:, :5])
    assert not without.requires_grad
    assert semantic_pool(weight, 5, bias=False, detach=False, owner='X').requires_grad


def test_another_classifier_is_refused_with_its_width():
    with pytest.raises(ValueError, match=r'X was built with pool_channels=7 .* reads 5 features; set pool_channels=5'):
        semantic_pool(torch.zeros(4, 6), 7, bias=True, detach=True, owner='X')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_shares_sum_to_one_in_full_precision(dtype):
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 3.0]]).to(dtype)
    soft, hard = class_shares(logits, 'soft'), class_shares(logits, 'argmax')
    wide = torch.promote_types(dtype, torch.float32)
    assert soft.dtype == hard.dtype == wide
    assert_close(soft, logits.to(wide).exp() / logits.to(wide).exp().sum(1, keepdim=True))
    assert hard.tolist() == [[1, 0, 0], [0, 1, 0]]


def test_no_rois():
    for mapping in ('soft', 'argmax'):
        assert class_shares(torch.zeros(0, 3), mapping).shape == (0, 3)
