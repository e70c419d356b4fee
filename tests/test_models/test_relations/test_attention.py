"""Attention with missing keys, against loops over the keys that exist."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations.attention import attention_weights, masked_attention

MASK = torch.tensor([[True, False, True, True], [False] * 4, [False, True, False, False]])


def inputs(mask, queries=5, dtype=torch.float64):
    images, keys = mask.shape
    shapes = [(images, 2, queries, 3), (images, 2, keys, 3), (images, 2, keys, 6), (images, 2, queries, keys)]
    return [torch.randn(shape, dtype=dtype) for shape in shapes]


def slow_attention(query, key, value, bias, mask):
    out = query.new_zeros(*query.shape[:3], value.shape[-1])
    for image, head, row in torch.cartesian_prod(*map(torch.arange, out.shape[:3])).tolist():
        keys = [k for k in range(mask.shape[1]) if mask[image, k]]
        logits = [query[image, head, row] @ key[image, head, k] / 3**0.5 + bias[image, head, row, k] for k in keys]
        total = sum(logit.exp() for logit in logits)
        for k, logit in zip(keys, logits, strict=True):
            out[image, head, row] += logit.exp() / total * value[image, head, k]
    return out


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=3))
@settings(max_examples=25, deadline=None)
def test_equals_loops_over_the_keys_that_exist(rows):
    mask = torch.tensor(rows)
    tensors = inputs(mask, queries=2)
    assert_close(masked_attention(*tensors, mask), slow_attention(*tensors, mask))


def test_the_weights_are_those_of_the_attention():
    query, key, value, bias = inputs(MASK)
    bias.requires_grad_()
    weights = attention_weights(query, key, bias, MASK)
    assert not weights.requires_grad
    assert_close(weights @ value, masked_attention(query, key, value, bias, MASK))
    assert_close(weights.sum(-1), MASK.any(1)[:, None, None].expand(3, 2, 5).double())


def test_gradients_with_a_row_without_keys():
    tensors = [x.requires_grad_() for x in inputs(MASK, queries=2)]
    assert torch.autograd.gradcheck(lambda *x: masked_attention(*x, MASK), tensors)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_with_a_wider_bias(dtype):
    query, key, value, bias = inputs(MASK, dtype=torch.float32)
    out = masked_attention(query.to(dtype), key.to(dtype), value.to(dtype), bias, MASK)
    assert out.dtype == dtype
    assert attention_weights(query.to(dtype), key.to(dtype), bias, MASK).dtype == dtype
    assert not out[1].any()
    assert_close(out.float(), masked_attention(query, key, value, bias, MASK), rtol=0.1, atol=0.1)


def test_without_queries_everything_stays_connected():
    tensors = [x.requires_grad_() for x in inputs(MASK, queries=0)]
    out = masked_attention(*tensors, MASK)
    assert out.shape == (3, 2, 0, 6)
    out.sum().backward()
    assert all(x.grad is not None and not x.grad.any() for x in tensors)
