"""Attention biased by geometry in the memory of its inputs: nothing of size (H, N, M) or (N, M, dim) outlives a chunk.

Queries are taken in chunks whose buffers stay in the cache of a processor core; the backward computes the chunks again.
Half of the embedding needs no sine per pair: the sizes enter as a difference of logarithms, and `sin(a - b)` and
`cos(a - b)` are sums of two products of something of the query and something of the key, which a matrix product adds
up. For the other half, the distances, one tangent per pair and frequency stands for a sine and a cosine.

The two functions are operators of torch (`torch.ops.mmdet_ext`), so `torch.compile` has no loop to unroll.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .attention_chunks import MIN_WEIGHT, ImagePairs
from .geometry import centre_and_size, wave_numbers


def geometry_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_boxes: Tensor,
    key_boxes: Tensor,
    weight: Tensor,
    bias: Tensor,
    counts: Sequence[int],
    key_counts: Sequence[int],
    key_mask: Tensor | None = None,
    kind: str = 'hu',
    wave_len: float = 1000.0,
) -> Tensor:
    """`softmax(query . key / sqrt(d) + log max(W embed(geometry) + b, 1e-6)) value`, image by image.

    Equations 2 to 5 of Relation Networks (arXiv:1711.11575). The softmax of a sum with a logarithm is computed as the
    paper writes it, `w exp(s) / sum w exp(s)`, without the logarithm. Computed in float32 or wider whatever the inputs.

    Args:
        query: (B, H, N, d).
        key: (B, H, M, d), finite where masked, too.
        value: (B, H, M, e), finite where masked, too.
        query_boxes: (B, N, 4) xyxy; boxes are data, no gradient reaches them.
        key_boxes: (B, M, 4) xyxy.
        weight: (H, dim) linear layer on the sine embedding, see :func:`.geometry.sine_embedding`.
        bias: (H,) of the same layer.
        counts: queries of each image; rows after them are padding, cost nothing and come out as zeros.
        key_counts: keys of each image, likewise; at least one for an image that has queries.
        key_mask: (B, M) bool, False where there is no key among these; None if there is none missing.
        kind: see :func:`.geometry.box_geometry`.
        wave_len: see :func:`.geometry.sine_embedding`.

    Returns:
        (B, H, N, e) in the type of `query`; zeros for an image without any key.
    """
    with torch.autocast(query.device.type, enabled=False):
        dtype = torch.promote_types(query.dtype, torch.float32)
        weight, bias = weight.to(dtype), bias.to(dtype)
        centre_q, size_q = centre_and_size(query_boxes.detach().to(dtype))
        centre_k, size_k = centre_and_size(key_boxes.detach().to(dtype))
        shift_weight, shift_bias = _half_angle(weight[:, : weight.shape[1] // 2])
        factors, waves = _size_factors(weight[:, weight.shape[1] // 2 :], bias + shift_bias, size_q, size_k, wave_len)
        blocked = None
        if key_mask is not None:
            blocked = torch.zeros_like(key_mask, dtype=dtype).masked_fill(~key_mask, float('-inf'))
        out, _ = _attend(
            query.to(dtype) * query.shape[-1] ** -0.5,
            key.to(dtype),
            value.to(dtype),
            shift_weight,
            factors,
            waves,
            torch.cat([centre_q, size_q], dim=-1),
            centre_k,
            blocked,
            counts,
            key_counts,
            kind,
            wave_len,
        )
        return out.to(query.dtype)


def _half_angle(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of `sin x, cos x` -> weights of `t r, r` and a constant, with `t = tan(x / 2)` and `r = 1 / (1 + t^2)`.

    `sin x = 2 t r` and `cos x = 2 r - 1`.
    """
    cosines = weight.unflatten(1, (2, 2, -1))[:, :, 1]
    return 2 * weight, -cosines.sum((1, 2))


def _size_factors(
    weight: Tensor, bias: Tensor, size_q: Tensor, size_k: Tensor, wave_len: float
) -> tuple[Tensor, Tensor]:
    """(B, N, H, K) and (B, M, K) whose product over K is the part of the linear layer that sees the sizes, and `bias`.

    `s sin(a - b) + c cos(a - b) = (s sin a + c cos a) cos b + (c sin a - s cos a) sin b`. The angles are computed in
    float64: as difference of two rounded ones the angle would be less precise than it is in the embedding.
    """
    sines, cosines = weight.unflatten(1, (2, 2, -1)).unbind(2)
    numbers = wave_numbers(sines.shape[-1], wave_len, torch.float64, weight.device)
    (sin_q, cos_q), (sin_k, cos_k) = (
        (angle.sin().to(weight.dtype), angle.cos().to(weight.dtype))
        for angle in (size.double().log()[..., None] * numbers for size in (size_q, size_k))
    )
    sin_q, cos_q = sin_q[:, :, None], cos_q[:, :, None]
    constant = bias[:, None].expand(*sin_q.shape[:2], -1, -1)
    factors = [(sines * sin_q + cosines * cos_q).flatten(3), (cosines * sin_q - sines * cos_q).flatten(3), constant]
    waves = [cos_k.flatten(2), sin_k.flatten(2), torch.ones_like(cos_k[..., 0, :1])]
    return torch.cat(factors, dim=-1), torch.cat(waves, dim=-1)


@torch.library.custom_op('mmdet_ext::geometry_attention', mutates_args=())
def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shift_weight: Tensor,
    factors: Tensor,
    waves: Tensor,
    query_boxes: Tensor,
    key_centres: Tensor,
    blocked: Tensor | None,
    counts: Sequence[int],
    key_counts: Sequence[int],
    kind: str,
    wave_len: float,
) -> tuple[Tensor, Tensor]:
    """Output (B, H, N, e) and logarithm of the softmax's denominator (B, H, N, 1)."""
    out = value.new_zeros((*query.shape[:3], value.shape[3]))
    log_total = query.new_zeros((*query.shape[:3], 1))
    # Without any key all scores are -inf: these two finite numbers make exp(-inf) / total, that is zero, of them.
    lowest, tiny = torch.finfo(query.dtype).min, torch.finfo(query.dtype).tiny
    rest = (shift_weight, factors, waves, query_boxes, key_centres, blocked, counts, key_counts, kind, wave_len)
    for index in range(len(counts)):
        image = ImagePairs(index, query, key, value, *rest)
        for rows in image.chunks():
            score = image.scores(rows)
            top = score.amax(-1, keepdim=True).clamp_(min=lowest)
            score.sub_(top).exp_()
            for inside, part in image.parts(rows):
                score[:, inside] *= image.geometry(part, image.embed(part)).clamp_(min=MIN_WEIGHT)
            total = score.sum(-1, keepdim=True).clamp_(min=tiny)
            out[index, :, rows] = torch.bmm(score, image.value).div_(total)
            log_total[index, :, rows] = total.log_().add_(top)
    return out, log_total


@torch.library.custom_op('mmdet_ext::geometry_attention_backward', mutates_args=())
def _attend_backward(
    grad: Tensor,
    out: Tensor,
    log_total: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shift_weight: Tensor,
    factors: Tensor,
    waves: Tensor,
    query_boxes: Tensor,
    key_centres: Tensor,
    blocked: Tensor | None,
    counts: Sequence[int],
    key_counts: Sequence[int],
    kind: str,
    wave_len: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of query, key, value, shift_weight and factors."""
    grad_query, grad_key, grad_value = (torch.zeros_like(x) for x in (query, key, value))
    grad_weight, grad_factors = torch.zeros_like(shift_weight), torch.zeros_like(factors)
    mean = (grad * out).sum(-1, keepdim=True)
    rest = (shift_weight, factors, waves, query_boxes, key_centres, blocked, counts, key_counts, kind, wave_len)
    for index in range(len(counts)):
        image = ImagePairs(index, query, key, value, *rest)
        keys = key_counts[index]
        for rows in image.chunks():
            upstream = grad[index, :, rows]
            # exp(s) / sum w exp(s): times w the attention, times the gradient of the logit the gradient of w.
            share = image.scores(rows).sub_(log_total[index, :, rows]).exp_()
            grad_score = torch.bmm(upstream, image.value.transpose(1, 2)).sub_(mean[index, :, rows])
            for inside, part in image.parts(rows):
                embedding = image.embed(part)
                raw = image.geometry(part, embedding)
                grad_geometry = share[:, inside] * grad_score[:, inside]
                grad_raw = torch.ops.aten.threshold_backward(grad_geometry, raw, MIN_WEIGHT)
                geometry = raw.clamp_(min=MIN_WEIGHT)
                share[:, inside] *= geometry
                torch.mul(grad_geometry, geometry, out=grad_score[:, inside])
                grad_weight += grad_raw.flatten(1) @ embedding.T
                grad_factors[index, part] = (grad_raw @ image.waves).transpose(0, 1)
            grad_value[index, :, :keys].baddbmm_(share.transpose(1, 2), upstream)
            grad_query[index, :, rows] = torch.bmm(grad_score, image.key)
            grad_key[index, :, :keys].baddbmm_(grad_score.transpose(1, 2), image.query[:, rows])
    return grad_query, grad_key, grad_value, grad_weight, grad_factors


@_attend.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    return value.new_empty((*query.shape[:3], value.shape[3])), query.new_empty((*query.shape[:3], 1))


@_attend_backward.register_fake
def _(grad: Tensor, out: Tensor, log_total: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(x) for x in inputs[:5])


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output, *inputs[:9])
    ctx.rest = inputs[9:]


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
    return (*_attend_backward(grad.contiguous(), *ctx.saved_tensors, *ctx.rest), *[None] * 8)


_attend.register_autograd(_differentiate, setup_context=_keep)
