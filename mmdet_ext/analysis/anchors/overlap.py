"""How well anchors cover boxes: IoU with the nearest anchor of each shape on its grid, and what follows from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .boxes import BoxSet, Floats
from .clusters import find_nearest
from .heads import AnchorGrid

# Rows compared with all anchors at once.
_CHUNK = 50_000


def best_on_grid(boxes: BoxSet, grid: AnchorGrid) -> tuple[NDArray[np.int64], Floats]:
    """For each box the anchor with the highest IoU, the first of equal ones, and that IoU; memory is bounded.

    Each anchor shape stands where its grid has it nearest to the box: an anchor on a stride of 64 can be 32 pixels
    away. The grid covers the image, the last cell may reach beyond it.
    """
    numbers, overlaps = np.empty(len(boxes), np.int64), np.empty(len(boxes))
    for start in range(0, len(boxes), _CHUNK):
        rows = slice(start, start + _CHUNK)
        iou = _grid_iou(boxes.boxes[rows], boxes.sizes[rows], grid)
        best = iou.argmax(1)
        numbers[rows], overlaps[rows] = best, iou[np.arange(len(best)), best]
    return numbers, overlaps


def _grid_iou(boxes: Floats, sizes: Floats, grid: AnchorGrid) -> Floats:
    """(N, A) IoU of boxes with the nearest anchor of each shape."""
    inter = np.ones((len(boxes), len(grid)))
    for axis in (0, 1):
        stride, first = grid.strides[grid.levels, axis], grid.centres[:, axis]
        start, end = boxes[:, axis, None], boxes[:, axis + 2, None]
        last = np.ceil(sizes[:, axis, None] / stride) - 1
        # For a given size the overlap falls with the distance of the centres on either axis.
        cell = np.clip(np.round(((start + end) / 2 - first) / stride), 0, np.maximum(last, 0))
        centre = first + cell * stride
        half = grid.shapes[:, axis] / 2
        inter *= np.maximum(np.minimum(end, centre + half) - np.maximum(start, centre - half), 0)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None]
    return inter / (area + grid.shapes.prod(1) - inter)


@dataclass(frozen=True)
class Coverage:
    """What anchors reach on a set of boxes.

    Attributes:
        mean_iou: Mean over the boxes of the best IoU where box and anchor share their centre.
        recall: By threshold, the share of boxes for which that IoU reaches it.
        grid_iou: Mean of the best IoU with anchors where their grids have them; None for shapes without a grid.
        possible: Best possible recall: share of boxes whose IoU on the grid reaches the assigner's threshold, so that
            a positive anchor exists; None for shapes without a grid.
        numbers: (N,) the best anchor of each box on the grid, by shape where there is none.
        overlaps: (N,) its IoU.
    """

    mean_iou: float
    recall: dict[float, float]
    grid_iou: float | None
    possible: float | None
    numbers: NDArray[np.int64]
    overlaps: Floats


def measure(
    boxes: BoxSet, shapes: Floats, grid: AnchorGrid | None, threshold: float, thresholds: Sequence[float]
) -> Coverage:
    """Measure anchors on boxes.

    Args:
        boxes: At least one.
        shapes: (A, 2) of the anchors.
        grid: The same anchors on their grids, where they have one.
        threshold: IoU from which an anchor is positive.
        thresholds: IoUs for `recall`.
    """
    numbers, far = find_nearest(boxes.shapes, shapes, 'iou')
    best = 1 - far
    recall = {thr: share_from(best, thr) for thr in thresholds}
    if grid is None:
        return Coverage(float(best.mean()), recall, None, None, numbers, best)
    numbers, overlaps = best_on_grid(boxes, grid)
    return Coverage(
        float(best.mean()), recall, float(overlaps.mean()), share_from(overlaps, threshold), numbers, overlaps
    )


def share_from(overlaps: Floats, threshold: float) -> float:
    """Share of values at or above a threshold; mmdet makes anchors in float32, which rounds."""
    return float((overlaps >= threshold - 1e-6).mean())
