"""Pairwise geometry of boxes, and a bias computed from it that never keeps the (N, M, dim) embedding.

Everything here runs in float32 or wider: the embedding's arguments reach hundreds of radians, where half precision is
wrong in the first digit.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

GEOMETRIES = ('hu', 'log1p')
# Smallest width and height in pixels. mmdet 3.x boxes have no "+1", so refined boxes may be empty.
MIN_SIDE = 1e-2
# Largest coordinate in pixels, so that a diverging regressor's boxes keep finite centres and areas.
MAX_COORDINATE = 1e6
# Relation Networks: a centre distance below this share of the box counts as this share.
MIN_SHIFT = 1e-3
# Scale of the embedding's arguments, as published.
SCALE = 100.0
# Elements of the embedding that are alive at a time: 2 M floats fit the cache of a CPU core and fill a GPU.
CHUNK_ELEMENTS = 1 << 21


def _finite(boxes: Tensor) -> Tensor:
    return boxes.nan_to_num().clamp(-MAX_COORDINATE, MAX_COORDINATE)


def _centre_and_log_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    boxes = _finite(boxes)
    return (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=MIN_SIDE).log()


def box_geometry(queries: Tensor, keys: Tensor, kind: str = 'hu') -> Tensor:
    """Relative position and size of every key as seen from every query.

    `'hu'` (Relation Networks, arXiv:1711.11575, equation 5, in the form of the authors' code, which divides by the
    query's size): `log max(|dx| / w_q, 1e-3), log max(|dy| / h_q, 1e-3), log(w_q / w_k), log(h_q / h_k)`.
    `'log1p'` (Relation DETR, arXiv:2407.11699): `log(1 + |dx| / w_q)` and so on, which has no floor.

    Args:
        queries: (..., N, 4) xyxy.
        keys: (..., M, 4) xyxy.
        kind: `'hu'` or `'log1p'`.

    Returns:
        (..., N, M, 4) in the wider of float32 and the input's type.
    """
    dtype = torch.promote_types(queries.dtype, torch.float32)
    centre_q, size_q = _centre_and_log_size(queries.to(dtype))
    centre_k, size_k = _centre_and_log_size(keys.to(dtype))
    shift = (centre_q[..., :, None, :] - centre_k[..., None, :, :]).abs() / size_q.exp()[..., :, None, :]
    shift = shift.clamp(min=MIN_SHIFT).log() if kind == 'hu' else shift.log1p()
    return torch.cat([shift, size_q[..., :, None, :] - size_k[..., None, :, :]], dim=-1)


def sine_embedding(geometry: Tensor, dim: int = 64, wave_len: float = 1000.0) -> Tensor:
    """Sine and cosine embedding of the four numbers (Attention is all you need, arXiv:1706.03762, section 3.5).

    Args:
        geometry: (..., 4).
        dim: width of the embedding, a multiple of 8.
        wave_len: longest wave length.

    Returns:
        (..., dim): for each of the four numbers `dim / 8` sines, then as many cosines.
    """
    count = dim // 8
    steps = torch.arange(count, device=geometry.device, dtype=geometry.dtype) / count
    angles = geometry[..., None] * (SCALE * torch.exp(-math.log(wave_len) * steps))
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


class _GeometryBias(torch.autograd.Function):
    """Linear layer over the embedding, in chunks of queries; the backward computes the embedding again."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        weight: Tensor,
        bias: Tensor,
        kind: str,
        wave_len: float,
    ) -> Tensor:
        ctx.save_for_backward(queries, keys, weight)
        ctx.kind, ctx.wave_len = kind, wave_len
        out = weight.new_empty((*queries.shape[:2], keys.shape[1], weight.shape[0]))
        for rows, embedding in _embedding_chunks(queries, keys, weight.shape[1], kind, wave_len):
            out[:, rows] = torch.nn.functional.linear(embedding.to(weight.dtype), weight, bias)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        queries, keys, weight = ctx.saved_tensors
        grad_weight = torch.zeros_like(weight)
        for rows, embedding in _embedding_chunks(queries, keys, weight.shape[1], ctx.kind, ctx.wave_len):
            grad_weight += grad[:, rows].flatten(0, 2).T @ embedding.flatten(0, 2).to(grad.dtype)
        return None, None, grad_weight, grad.sum((0, 1, 2)), None, None


def _embedding_chunks(
    queries: Tensor, keys: Tensor, dim: int, kind: str, wave_len: float
) -> Iterator[tuple[slice, Tensor]]:
    per_row = max(1, queries.shape[0] * keys.shape[1] * dim)
    step = max(1, CHUNK_ELEMENTS // per_row)
    for start in range(0, queries.shape[1], step):
        rows = slice(start, start + step)
        yield rows, sine_embedding(box_geometry(queries[:, rows], keys, kind), dim, wave_len)


def geometry_bias(
    queries: Tensor,
    keys: Tensor,
    weight: Tensor,
    bias: Tensor,
    kind: str = 'hu',
    wave_len: float = 1000.0,
) -> Tensor:
    """`linear(sine_embedding(box_geometry(queries, keys)), weight, bias)` in the memory of its result.

    Gradients reach `weight` and `bias`; boxes are data here, as in every RoI head.

    Args:
        queries: (B, N, 4) xyxy.
        keys: (B, M, 4) xyxy.
        weight: (H, dim), one row per head.
        bias: (H,).
        kind: see :func:`box_geometry`.
        wave_len: see :func:`sine_embedding`.

    Returns:
        (B, N, M, H) of the type of `weight`.
    """
    return _GeometryBias.apply(queries.detach(), keys.detach(), weight, bias, kind, wave_len)


def pairwise_iou(boxes: Tensor) -> Tensor:
    """Intersection over union of every pair of boxes, 1 on the diagonal also for boxes without area.

    Args:
        boxes: (..., M, 4) xyxy.

    Returns:
        (..., M, M) in the wider of float32 and the input's type.
    """
    boxes = _finite(boxes.to(torch.promote_types(boxes.dtype, torch.float32)))
    top_left = torch.maximum(boxes[..., :, None, :2], boxes[..., None, :, :2])
    bottom_right = torch.minimum(boxes[..., :, None, 2:], boxes[..., None, :, 2:])
    overlap = (bottom_right - top_left).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    iou = overlap / (area[..., :, None] + area[..., None, :] - overlap).clamp(min=1e-6)
    return iou.maximum(torch.eye(boxes.shape[-2], dtype=iou.dtype, device=iou.device))
