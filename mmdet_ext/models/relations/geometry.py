"""Pairwise geometry of boxes and its sine embedding.

Everything here runs in float32 or wider: the embedding's arguments reach hundreds of radians, where half precision is
wrong in the first digit.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

GEOMETRIES = ('hu', 'log1p')
# Smallest width and height in pixels. mmdet 3.x boxes have no "+1", so refined boxes may be empty.
MIN_SIDE = 1e-2
# Largest coordinate in pixels, so that a diverging regressor's boxes keep finite centres and areas.
MAX_COORDINATE = 1e6
# Relation Networks: a centre distance below this share of the box counts as this share.
MIN_SHIFT = 1e-3
# Scale of the embedding's arguments, as published.
SCALE = 100.0


def _finite(boxes: Tensor) -> Tensor:
    return boxes.nan_to_num().clamp(-MAX_COORDINATE, MAX_COORDINATE)


def centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 4) xyxy -> (..., 2) centres and (..., 2) sizes, finite whatever the boxes, sizes above zero."""
    boxes = _finite(boxes)
    return (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]).clamp(min=MIN_SIDE)


def log_shift(centre_q: Tensor, size_q: Tensor, centre_k: Tensor, kind: str) -> Tensor:
    """The distances of :func:`box_geometry`, from centres and sizes of shapes that broadcast."""
    shift = (centre_q - centre_k).abs() / size_q
    return shift.clamp(min=MIN_SHIFT).log() if kind == 'hu' else shift.log1p()


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
    centre_q, size_q = centre_and_size(queries.to(dtype))
    centre_k, size_k = centre_and_size(keys.to(dtype))
    shift = log_shift(centre_q[..., :, None, :], size_q[..., :, None, :], centre_k[..., None, :, :], kind)
    return torch.cat([shift, size_q.log()[..., :, None, :] - size_k.log()[..., None, :, :]], dim=-1)


def wave_numbers(count: int, wave_len: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(count,) factors of the embedding's arguments: `100 / wave_len^(k / count)`."""
    steps = torch.arange(count, device=device, dtype=dtype) / count
    return SCALE * torch.exp(-math.log(wave_len) * steps)


def sine_embedding(geometry: Tensor, dim: int = 64, wave_len: float = 1000.0) -> Tensor:
    """Sine and cosine embedding of the four numbers (Attention is all you need, arXiv:1706.03762, section 3.5).

    Args:
        geometry: (..., 4).
        dim: width of the embedding, a multiple of 8.
        wave_len: longest wave length.

    Returns:
        (..., dim): for each of the four numbers `dim / 8` sines, then as many cosines.
    """
    angles = geometry[..., None] * wave_numbers(dim // 8, wave_len, geometry.dtype, geometry.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def geometry_bias(
    queries: Tensor,
    keys: Tensor,
    weight: Tensor,
    bias: Tensor,
    kind: str = 'hu',
    wave_len: float = 1000.0,
) -> Tensor:
    """`linear(sine_embedding(box_geometry(queries, keys)), weight, bias)`; the backward computes the embedding again.

    For few keys, or for looking at the result; where every RoI is a key, :func:`.fused_attention.geometry_attention`
    does without the (B, N, M, H) result as well. Boxes are data, as in every RoI head: no gradient reaches them.

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

    def layer(weight: Tensor, bias: Tensor) -> Tensor:
        embedding = sine_embedding(box_geometry(queries.detach(), keys.detach(), kind), weight.shape[1], wave_len)
        return F.linear(embedding.to(weight.dtype), weight, bias)

    if not torch.is_grad_enabled():
        # Nothing to keep; and an exporter sees plain operators.
        return layer(weight, bias)
    return checkpoint(layer, weight, bias, use_reentrant=False, preserve_rng_state=False)


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
