"""Overlaps of many priors with some boxes, a block of priors at a time; pairs that cannot touch are left out."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

# As in mmdet's `bbox_overlaps`.
EPS = 1e-6
# From this number of pairs on an order by position costs less than the pairs that it saves.
MANY_PAIRS = 2**20
# Priors in a block of those that are ordered: fewer reach fewer boxes, but each block costs some calls.
TILE = 1024
# The order compares a size class of 4 bits and centres on a grid of 64 x 64 cells: numpy sorts 16 bits in linear time.
SIZE_CLASSES = 16
GRID = 64


class Boxes(NamedTuple):
    """Boxes by column, float32: as (n,) tensors, or as (g, 1) ones to be paired with those."""

    x1: Tensor
    y1: Tensor
    x2: Tensor
    y2: Tensor
    area: Tensor


class Block(NamedTuple):
    """Some priors, and the boxes that may touch one of them.

    Attributes:
        place: which priors they are: a slice, or their numbers, ascending.
        numbers: (c,) the same as a tensor.
        near: (g,) numbers of the boxes, ascending; None: all of them.
        boxes: (g, 1) columns.
        priors: (c,) columns.
    """

    place: slice | Tensor
    numbers: Tensor
    near: Tensor | None
    boxes: Boxes
    priors: Boxes


def box_table(boxes: Tensor) -> Tensor:
    """(n, 4) xyxy -> (5, n): coordinates and area."""
    coords = boxes.t()
    return torch.cat([coords, ((coords[2] - coords[0]) * (coords[3] - coords[1]))[None]])


def pairwise_overlap(boxes: Boxes, priors: Boxes) -> Tensor:
    """Common area of (g, 1) boxes and (c,) priors: (g, c)."""
    width = torch.minimum(boxes.x2, priors.x2)
    width -= torch.maximum(boxes.x1, priors.x1)
    height = torch.minimum(boxes.y2, priors.y2)
    height -= torch.maximum(boxes.y1, priors.y1)
    return width.clamp_(min=0).mul_(height.clamp_(min=0))


def _divide_by_union(overlap: Tensor, boxes: Boxes, priors: Boxes) -> Tensor:
    union = boxes.area + priors.area
    union -= overlap
    return overlap.div_(union.clamp_(min=EPS))


def pairwise_iou(boxes: Boxes, priors: Boxes) -> Tensor:
    """IoU of (g, 1) boxes and (c,) priors: (g, c); to the last bit that of mmdet's `bbox_overlaps` in float32."""
    return _divide_by_union(pairwise_overlap(boxes, priors), boxes, priors)


def pairwise_wh_iou(boxes: Boxes, priors: Boxes) -> Tensor:
    """IoU of (g, 1) boxes and (c,) priors moved onto the same centre: (g, c)."""
    width = torch.minimum(boxes.x2 - boxes.x1, priors.x2 - priors.x1)
    height = torch.minimum(boxes.y2 - boxes.y1, priors.y2 - priors.y1)
    return _divide_by_union(width.mul_(height), boxes, priors)


@functools.cache
def hilbert_curve(size: int) -> np.ndarray:
    """(size, size) place of each cell of a square on Hilbert's curve, which only goes to cells next to each other.

    Args:
        size: a power of two.
    """
    if size == 1:
        return np.zeros((1, 1), np.uint16)
    part = hilbert_curve(size // 2)
    turned, step = part.T, np.uint16(part.size)
    return np.block([[turned, turned[::-1, ::-1] + 3 * step], [part + step, part + 2 * step]])


def _cells(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return ((values - low) * (GRID * (1 - EPS) / max(high - low, EPS))).astype(np.intp)


def spatial_order(table: np.ndarray, size: int) -> np.ndarray:
    """An order in which each `size` priors in a row are of like size and close together, by their numbers within.

    Args:
        table: (5, n) of :func:`box_table`, finite, x2 >= x1, y2 >= y1; n > 0.
        size: priors per block.

    Returns:
        (n,) numbers of the priors: by power of two of the longer side, then along Hilbert's curve over the centres,
        and ascending within a block, so that the first of equal IoUs is that of the lowest number.
    """
    x1, y1, x2, y2, _ = table
    # The exponent of a float32 is its upper bits; 127 stands for sides of 1 to 2 pixels.
    exponent = (np.maximum(x2 - x1, y2 - y1).view(np.int32) >> 23) - 127
    place = hilbert_curve(GRID).ravel()[_cells(y1 + y2) * GRID + _cells(x1 + x2)]
    key = exponent.clip(0, SIZE_CLASSES - 1).astype(np.uint16) << 12 | place
    order = np.argsort(key, kind='stable')
    for start in range(0, len(order), size):
        order[start : start + size].sort()
    return order


class PriorBlocks:
    """Priors, cut into blocks.

    On a CPU priors of many pairs are put in an order by position first: boxes far from all priors of a block are then
    left out, which saves about nine pairs of ten. On a GPU that would need the positions on the host, and with it
    a wait; pairs cost little there.

    Args:
        priors: (n, 4) xyxy, float32, finite, not inverted; n > 0.
        size: most priors in a block.
        partners: number of boxes that they are to be paired with.
    """

    def __init__(self, priors: Tensor, size: int, partners: int) -> None:
        self.number, self.size = len(priors), size
        self.table = box_table(priors)
        self.index = torch.arange(self.number, device=priors.device)
        self.bounds: np.ndarray | None = None
        if self.number * partners > MANY_PAIRS and self.number > TILE and priors.device.type == 'cpu':
            self.size = min(size, TILE)
            self.index = torch.from_numpy(spatial_order(self.table.numpy(), self.size))
            self.table = self.table[:, self.index]
            x1, y1, x2, y2, _ = self.table.numpy()
            starts = np.arange(0, self.number, self.size)
            lower = [np.minimum.reduceat(x, starts) for x in (x1, y1)]
            upper = [np.maximum.reduceat(x, starts) for x in (x2, y2)]
            self.bounds = np.stack([*lower, *upper])[..., None]

    @staticmethod
    def _near(table: Tensor, bounds: np.ndarray) -> list[Tensor]:
        """Numbers of the boxes that may touch each block."""
        (x1, y1, x2, y2, _), (left, top, right, bottom) = table.numpy(), bounds
        touch = (x1 < right) & (x2 > left) & (y1 < bottom) & (y2 > top)
        return list(torch.from_numpy(touch.nonzero()[1]).split(touch.sum(1).tolist()))

    def blocks(self, boxes: Tensor) -> Iterator[Block]:
        """The blocks in turn, without those that no box may touch; boxes (k, 4) xyxy, float32, k > 0."""
        table = box_table(boxes)
        priors = self.table.split(self.size, dim=1)
        indices = self.index.split(self.size)
        if self.bounds is None:
            columns, start = Boxes(*table[..., None]), 0
            for index, part in zip(indices, priors, strict=True):
                yield Block(slice(start, start + len(index)), index, None, columns, Boxes(*part))
                start += len(index)
            return
        rows = table.t().contiguous()
        for index, part, near in zip(indices, priors, self._near(table, self.bounds), strict=True):
            if len(near):
                yield Block(index, index, near, Boxes(*rows[near].t()[..., None]), Boxes(*part))

    def collect(
        self, pieces: Sequence[tuple[slice | Tensor, tuple[Tensor, ...]]], *dtypes: torch.dtype
    ) -> list[Tensor]:
        """Put together (n,) tensors of values that were found block by block; priors of no block get zero."""
        if self.bounds is None:
            parts = zip(*(values for _, values in pieces), strict=True)
            return [torch.cat(part) if len(part) > 1 else part[0] for part in parts]
        found = [torch.zeros(self.number, dtype=dtype, device=self.table.device) for dtype in dtypes]
        for place, values in pieces:
            for whole, part in zip(found, values, strict=True):
                whole[place] = part
        return found


def max_iof(blocks: PriorBlocks, regions: Tensor) -> Tensor:
    """Largest share of each prior that one of the regions covers: overlap / max(area of the prior, 1e-6).

    Args:
        blocks: of n priors.
        regions: (r, 4) xyxy, float32, finite, not inverted; r > 0.

    Returns:
        (n,) float32.
    """
    found = regions.new_zeros(blocks.number)
    for block in blocks.blocks(regions):
        found[block.place] = pairwise_overlap(block.boxes, block.priors).amax(0) / block.priors.area.clamp(min=EPS)
    return found
