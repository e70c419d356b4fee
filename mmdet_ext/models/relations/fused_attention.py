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

from .attention_chunks import LOG2, MIN_WEIGHT, ImagePairs
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
        query: (N, H, d), rows of all images one after the other.
        key: (M, H, d), likewise; finite where masked, too.
        value: (M, H, e), likewise.
        query_boxes: (N, 4) xyxy; boxes are data, no gradient reaches them.
        key_boxes: (M, 4) xyxy.
        weight: (H, dim) linear layer on the sine embedding, see :func:`.geometry.sine_embedding`.
        bias: (H,) of the same layer.
        counts: queries of each image, N together.
        key_counts: keys of each image, M together.
        key_mask: (M,) bool, False for what is no key; None: all are.
        kind: see :func:`.geometry.box_geometry`.
        wave_len: see :func:`.geometry.sine_embedding`.

    Returns:
        (N, H, e) in the type of `query`; zeros where the image has no key.
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
            query.to(dtype),
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
    """(H, N, K) and (M, K) whose product over K is the part of the linear layer that sees the sizes, and `bias`.

    `s sin(a - b) + c cos(a - b) = (s sin a + c cos a) cos b + (c sin a - s cos a) sin b`. The angles are computed in
    float64: as difference of two rounded ones the angle would be less precise than it is in the embedding.
    """
    sines, cosines = weight.unflatten(1, (2, 2, -1)).unbind(2)
    sines, cosines = sines[:, None], cosines[:, None]
    numbers = wave_numbers(sines.shape[-1], wave_len, torch.float64, weight.device)
    (sin_q, cos_q), (sin_k, cos_k) = (
        (angle.sin().to(weight.dtype), angle.cos().to(weight.dtype))
        for angle in (size.double().log()[..., None] * numbers for size in (size_q, size_k))
    )
    constant = bias[:, None, None].expand(-1, len(size_q), -1)
    factors = [(sines * sin_q + cosines * cos_q).flatten(2), (cosines * sin_q - sines * cos_q).flatten(2), constant]
    waves = [cos_k.flatten(1), sin_k.flatten(1), torch.ones_like(cos_k[:, 0, :1])]
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
    """Output (N, H, e) and binary logarithm of the softmax's denominator (H, N, 1)."""
    out = value.new_zeros((*query.shape[:2], value.shape[2]))
    log_total = query.new_zeros((*factors.shape[:2], 1))
    # Without any key all scores are -inf: these two finite numbers make exp(-inf) / total, that is zero, of them.
    lowest, tiny = torch.finfo(query.dtype).min, torch.finfo(query.dtype).tiny
    rest = (shift_weight, factors, waves, query_boxes, key_centres, blocked, counts, key_counts, kind, wave_len)
    for image in range(len(counts)):
        pairs = ImagePairs(image, query, key, value, *rest)
        image_out, image_total = out[pairs.rows].transpose(0, 1), log_total[:, pairs.rows]
        for rows in pairs.chunks():
            score = pairs.scores(rows)
            top = score.amax(-1, keepdim=True).clamp_(min=lowest)
            score.sub_(top).exp2_()
            for inside, part in pairs.parts(rows):
                # Not `score[:, inside] *= ...`, which would copy the slice onto itself afterwards.
                score[:, inside].mul_(pairs.geometry(part, pairs.embed(part)))
            total = score.sum(-1, keepdim=True).clamp_(min=tiny)
            image_out[:, rows] = torch.bmm(score, pairs.value).div_(total)
            image_total[:, rows] = total.log2_().add_(top)
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
    # Heads first, as the products want them; the way back is a view.
    grad_query, grad_key, grad_value = (x.new_zeros((x.shape[1], x.shape[0], x.shape[2])) for x in (query, key, value))
    grad_weight, grad_factors = torch.zeros_like(shift_weight), torch.zeros_like(factors)
    rest = (shift_weight, factors, waves, query_boxes, key_centres, blocked, counts, key_counts, kind, wave_len)
    for image in range(len(counts)):
        pairs = ImagePairs(image, query, key, value, *rest)
        upstream, image_out = grad[pairs.rows].transpose(0, 1).contiguous(), out[pairs.rows].transpose(0, 1)
        image_total, image_factors = log_total[:, pairs.rows], grad_factors[:, pairs.rows]
        image_query, image_key, image_value = (
            grad_query[:, pairs.rows],
            grad_key[:, pairs.keys],
            grad_value[:, pairs.keys],
        )
        for rows in pairs.chunks():
            # exp(s) / sum w exp(s): times w the attention, times the gradient of the logit the gradient of w.
            share = pairs.scores(rows).sub_(image_total[:, rows]).exp2_()
            mean = (upstream[:, rows] * image_out[:, rows]).sum(-1, keepdim=True)
            grad_score = pairs.grad_scores(upstream[:, rows]).sub_(mean)
            for inside, part in pairs.parts(rows):
                embedding = pairs.embed(part)
                geometry = pairs.geometry(part, embedding)
                grad_geometry = pairs.grad_geometry(share[:, inside], grad_score[:, inside])
                share[:, inside].mul_(geometry)
                torch.mul(grad_geometry, geometry, out=grad_score[:, inside])
                # No gradient where the geometry is at its floor.
                torch.ops.aten.threshold_backward(grad_geometry, geometry, MIN_WEIGHT, grad_input=grad_geometry)
                grad_weight += grad_geometry.flatten(1) @ embedding.T
                # The last wave is constant: a sum is cheaper than one column more in the product.
                image_factors[:, part, :-1] = grad_geometry @ pairs.waves[:, :-1]
                image_factors[:, part, -1] = grad_geometry.sum(-1)
            image_value.baddbmm_(share.transpose(1, 2), upstream[:, rows])
            image_query[:, rows] = torch.bmm(grad_score, pairs.key)
            image_key.baddbmm_(grad_score.transpose(1, 2), pairs.query[:, rows])
    grad_query *= query.shape[-1] ** -0.5
    grad_key *= LOG2
    query_rows, key_rows, value_rows = (x.transpose(0, 1) for x in (grad_query, grad_key, grad_value))
    return query_rows, key_rows, value_rows, grad_weight, grad_factors


@_attend.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    rows, heads = query.shape[:2]
    return value.new_empty((rows, heads, value.shape[2])), query.new_empty((heads, rows, 1))


@_attend_backward.register_fake
def _(grad: Tensor, out: Tensor, log_total: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    heads_first = (x.new_empty((x.shape[1], x.shape[0], x.shape[2])) for x in inputs[:3])
    return *(x.transpose(0, 1) for x in heads_first), *(torch.empty_like(x) for x in inputs[3:5])


def _keep(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*output, *inputs[:9])
    ctx.rest = inputs[9:]


def _differentiate(ctx: Any, grad: Tensor, _: Tensor) -> tuple:
    return (*_attend_backward(grad.contiguous(), *ctx.saved_tensors, *ctx.rest), *[None] * 8)


_attend.register_autograd(_differentiate, setup_context=_keep)
