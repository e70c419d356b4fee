"""Attention over keys of which some may be missing."""

import torch
import torch.nn.functional as F
from torch import Tensor


def _masked_bias(bias: Tensor, mask: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    # A row whose keys are all masked would be NaN: let it attend to padding, then zero it.
    has_key = mask.any(1)[:, None, None, None]
    blocked = (~mask)[:, None, None, :] & has_key
    return bias.masked_fill(blocked, float('-inf')).to(dtype), has_key


def masked_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """`softmax(query . key / sqrt(d) + bias) value` over the keys that exist; a row without any key gives zeros.

    Args:
        query: (B, H, N, d).
        key: (B, H, M, d), finite where masked, too.
        value: (B, H, M, e), finite where masked, too.
        bias: (B, H, N, M), added to the logits.
        mask: (B, M) bool, False where there is no key.

    Returns:
        (B, H, N, e).
    """
    bias, has_key = _masked_bias(bias, mask, query.dtype)
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias) * has_key
    if not out.numel():
        # Without any row the kernel forgets the bias; DDP wants a gradient for what made it all the same.
        out = out + bias.sum()
    return out


def attention_weights(query: Tensor, key: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """(B, H, N, M) weights that :func:`masked_attention` uses, detached: for plots."""
    bias, has_key = _masked_bias(bias, mask, query.dtype)
    logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5 + bias
    return (logits.softmax(-1) * has_key).detach()
