"""The cells of a grid laid over the box of every part."""

import torch
from torch import Tensor


def part_cells(boxes: Tensor, split: tuple[int, int]) -> Tensor:
    """Cut every box into `rows x columns` equal cells.

    Neighbouring cells share their edge exactly, and the outer edges are those of the box.

    Args:
        boxes: (B, P, 4) xyxy, finite. A box that is not finite gives cells that are not.
        split: rows and columns.

    Returns:
        (B, P, rows * columns, 4) xyxy, row by row from the top left, of the type of `boxes`.
    """
    rows, columns = split
    low, high = boxes[..., None, :2], boxes[..., None, 2:]

    def edges(number: int, axis: int) -> Tensor:
        share = torch.arange(number + 1, device=boxes.device, dtype=boxes.dtype) / number
        return low[..., axis] * (1 - share) + high[..., axis] * share

    x, y = edges(columns, 0), edges(rows, 1)
    corners = [x[..., None, :-1], y[..., :-1, None], x[..., None, 1:], y[..., 1:, None]]
    return torch.stack(torch.broadcast_tensors(*corners), dim=-1).flatten(-3, -2)
