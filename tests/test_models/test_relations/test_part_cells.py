"""Cells tile their part exactly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import part_cells

coordinates = st.floats(-1e4, 1e4, allow_nan=False, width=32)
sides = st.integers(1, 5)


def test_row_by_row_from_the_top_left():
    cells = part_cells(torch.tensor([[[10.0, 20, 40, 40]]]), (2, 3))
    top = [[10, 20, 20, 30], [20, 20, 30, 30], [30, 20, 40, 30]]
    bottom = [[10, 30, 20, 40], [20, 30, 30, 40], [30, 30, 40, 40]]
    assert cells.tolist() == [[top + bottom]]


def test_every_box_has_its_own_cells():
    boxes = torch.rand(2, 3, 4, dtype=torch.float64)
    cells = part_cells(boxes, (3, 2))
    assert cells.shape == (2, 3, 6, 4)
    for image in range(2):
        for part in range(3):
            assert torch.equal(cells[image, part], part_cells(boxes[None, None, image, part], (3, 2))[0, 0])


@given(st.tuples(coordinates, coordinates, coordinates, coordinates), sides, sides)
@settings(max_examples=50, deadline=None)
def test_cells_tile_the_box(box, rows, columns):
    boxes = torch.tensor([[box]], dtype=torch.float64)
    grid = part_cells(boxes, (rows, columns)).view(rows, columns, 4)
    # The outer edges are the box's, and neighbours share theirs to the last bit.
    assert torch.equal(grid[0, 0, :2], boxes[0, 0, :2])
    assert torch.equal(grid[-1, -1, 2:], boxes[0, 0, 2:])
    assert torch.equal(grid[:, 1:, 0], grid[:, :-1, 2])
    assert torch.equal(grid[1:, :, 1], grid[:-1, :, 3])
    size = (boxes[0, 0, 2:] - boxes[0, 0, :2]) / torch.tensor([columns, rows])
    assert_close(grid[..., 2:] - grid[..., :2], size.expand(rows, columns, 2), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
def test_type_and_empty_batch(dtype):
    assert part_cells(torch.zeros(0, 4, 4, dtype=dtype), (2, 2)).shape == (0, 4, 4, 4)
    boxes = torch.tensor([[[1.5, 2, 7, 9]]], dtype=dtype)
    assert torch.equal(part_cells(boxes, (1, 1)), boxes[:, :, None])
