"""The maps of a YOLO head: what lies where, and the one way from there to boxes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.structures.bbox import bbox_overlaps, get_box_tensor
from torch import Tensor

from mmdet_ext.models.losses import complete_iou_loss

# Every anchor of a map has these channels, in this order.
XY, WH, CONF, CLASSES = slice(0, 2), slice(2, 4), 4, slice(5, None)
OBJ_TARGETS = ('iou', 'one', 'ciou')
# As mmdet's DeltaXYWHBBoxCoder: exp() of more would overflow.
MAX_LOG_SCALE = math.log(1000 / 16)


def decode_boxes(coder: Any, preds: Tensor, priors: Tensor, strides: Tensor, scale_xy: float = 1.0) -> Tensor:
    """Raw channels -> boxes xyxy in pixels of the network's input; in training and in prediction.

    Args:
        coder: a `YOLOBBoxCoder`: centre = prior + (xy - 0.5) * stride, sides = prior * exp(wh).
        preds: (..., N, 4 or more), raw.
        priors: (N, 4) xyxy in pixels.
        strides: (N,) pixels per cell of the map.
        scale_xy: how far a centre can go, in cells; above 1 it can reach (and leave) the border of its cell.
    """
    xy = (preds[..., XY].sigmoid() - 0.5) * scale_xy + 0.5
    deltas = torch.cat([xy, preds[..., WH].clamp(max=MAX_LOG_SCALE)], dim=-1)
    return get_box_tensor(coder.decode(priors, deltas, strides[:, None]))


@torch.no_grad()
def objectness(boxes: Tensor, gts: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """What the objectness of positives should be, and how much their boxes overlap.

    Args:
        boxes: (P, 4) predicted, xyxy.
        gts: (P, 4) the box each of them belongs to.
        kind: `'iou'`, `'ciou'` (1 - CIoU loss, 0 where negative) or `'one'`.

    Returns:
        (P,) target in [0, 1] without gradient, (P,) IoU.
    """
    iou = bbox_overlaps(boxes, gts, is_aligned=True).clamp(0, 1)
    if kind == 'iou':
        return iou, iou
    if kind == 'one':
        return torch.ones_like(iou), iou
    return (1 - complete_iou_loss(boxes, gts, reduction='none')).clamp(0, 1), iou


def balance_levels(
    weights: Tensor, lengths: Sequence[int], counts: Sequence[Tensor], level_weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Weights with which a mean over all entries becomes the weighted sum of the means of the levels.

    Args:
        weights: (B, N), level by level; 0: does not count.
        lengths: priors of every level.
        counts: entries of every level that count, a small positive number at least.
        level_weights: of every level.

    Returns:
        (B, N) weights of the order of one, and the number to divide the sum by.
    """
    total = torch.stack(list(counts)).sum()
    parts = zip(weights.split(list(lengths), dim=1), counts, level_weights, strict=True)
    return torch.cat([part * (factor * total / count) for part, count, factor in parts], dim=1), total


def check_grid(sizes: Sequence[torch.Size], strides: Sequence[int], metas: Sequence[Mapping], owner: str) -> None:
    """Raise a `ValueError` when a map has not as many cells as its stride asks for, as far as the input is known."""
    shape = next((meta['batch_input_shape'] for meta in metas if 'batch_input_shape' in meta), None)
    if shape is None:
        return
    for size, stride in zip(sizes, strides, strict=True):
        if any(cells != math.ceil(side / stride) for cells, side in zip(size, shape, strict=True)):
            raise ValueError(
                f'{owner}: a map of {tuple(size)} cells with stride {stride} is not one of an input of {tuple(shape)} '
                f'pixels; featmap_strides={tuple(strides)} must follow the order of the feature maps'
            )
