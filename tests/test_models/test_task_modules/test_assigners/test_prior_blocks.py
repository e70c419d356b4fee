"""Overlaps of blocks, and the order that keeps neighbours together."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps

from mmdet_ext.models.task_modules.assigners import prior_blocks
from mmdet_ext.models.task_modules.assigners.prior_blocks import (
    Boxes,
    PriorBlocks,
    box_table,
    hilbert_curve,
    max_iof,
    pairwise_iou,
    pairwise_wh_iou,
    spatial_order,
)

from .assigner_case import random_boxes, shapes_at_origin

ODD = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 9], [0, 0, 1e-4, 1e-4], [0, 0, 0, 0]])


@pytest.fixture
def boxes():
    generator = torch.Generator().manual_seed(0)
    return [torch.cat([random_boxes(number, generator), ODD]) for number in (50, 2000)]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(prior_blocks, 'MANY_PAIRS', 0)
    monkeypatch.setattr(prior_blocks, 'TILE', 100)


def columns(boxes):
    return Boxes(*box_table(boxes)[..., None])


def test_iou_is_mmdets_to_the_last_bit(boxes):
    gts, priors = boxes
    assert torch.equal(pairwise_iou(columns(gts), Boxes(*box_table(priors))), bbox_overlaps(gts, priors))


def test_iou_of_shapes(boxes):
    gts, priors = boxes
    # Moved to the same corner the overlap is that of aligned centres.
    wanted = bbox_overlaps(shapes_at_origin(gts), shapes_at_origin(priors))
    found = pairwise_wh_iou(columns(gts), Boxes(*box_table(priors)))
    torch.testing.assert_close(found, wanted)
    assert (pairwise_wh_iou(columns(gts), Boxes(*box_table(gts))).diagonal()[:-4] == 1).all()


@pytest.mark.parametrize('size', [1, 2, 8, 64])
def test_hilbert_curve_goes_to_cells_next_to_each_other(size):
    curve = hilbert_curve(size)
    cells = np.stack(np.unravel_index(np.argsort(curve.ravel()), curve.shape), axis=1)
    assert sorted(curve.ravel()) == list(range(size**2))
    assert (np.abs(np.diff(cells, axis=0)).sum(1) == 1).all()


@pytest.mark.parametrize('size', [1, 100, 5000])
def test_order_holds_each_prior_once_and_ascends_in_a_block(boxes, size):
    order = spatial_order(box_table(boxes[1]).numpy(), size)
    assert sorted(order) == list(range(len(boxes[1])))
    assert all((np.diff(order[start : start + size]) > 0).all() for start in range(0, len(order), size))


@pytest.mark.parametrize('extent', [100.0, 1e-3, 1e9])
def test_order_keeps_neighbours_and_like_sizes_together(extent):
    generator = torch.Generator().manual_seed(0)
    priors = random_boxes(4096, generator, extent, extent / 100, extent / 20)
    priors = priors[spatial_order(box_table(priors).numpy(), 64)].view(64, 64, 4)
    reach = priors[..., 2:].amax(1) - priors[..., :2].amin(1)
    # 64 of them spread over the whole extent where nothing is in order.
    assert (reach.mean(0) < 0.35 * extent).all()


def test_order_of_priors_in_one_place():
    same = torch.tensor([[5.0, 5, 5, 5]]).repeat(300, 1)
    assert spatial_order(box_table(same).numpy(), 100).tolist() == list(range(300))


def test_all_boxes_meet_all_blocks_in_turn(boxes):
    gts, priors = boxes
    blocks = PriorBlocks(priors, 1000, len(gts))
    found = list(blocks.blocks(gts))
    assert [block.place for block in found] == [slice(0, 1000), slice(1000, 2000), slice(2000, 2004)]
    assert all(block.near is None for block in found)
    assert torch.equal(torch.cat([block.numbers for block in found]), torch.arange(2004))


def test_pairs_that_are_left_out_do_not_touch(boxes, small_tiles):
    gts, priors = boxes
    blocks, iou = PriorBlocks(priors, 8192, len(gts)), torch.zeros(len(gts), len(priors))
    pairs = 0
    for block in blocks.blocks(gts):
        assert len(block.numbers) <= 100
        assert (block.near.diff() > 0).all()
        iou[block.near[:, None], block.numbers] = pairwise_iou(block.boxes, block.priors)
        pairs += len(block.near) * len(block.numbers)
    assert torch.equal(iou, bbox_overlaps(gts, priors))
    assert pairs < 0.7 * iou.numel()


def test_blocks_of_no_box_are_left_out(boxes, small_tiles):
    assert list(PriorBlocks(boxes[1], 8192, 1).blocks(torch.tensor([[900.0, 900, 910, 910]]))) == []


@pytest.mark.parametrize('device', ['cuda', 'cpu'])
def test_only_many_pairs_on_a_cpu_are_ordered(boxes, device, small_tiles, monkeypatch):
    if device == 'cuda':
        monkeypatch.setattr(torch.Tensor, 'device', property(lambda self: FakeDevice()))
        monkeypatch.setattr(torch, 'arange', lambda number, device: list(range(number)))
    blocks = PriorBlocks(boxes[1], 8192, 50)
    assert (blocks.bounds is None) is (device == 'cuda')


class FakeDevice:
    type = 'cuda'


def test_few_pairs_are_not_ordered(boxes):
    assert PriorBlocks(boxes[1], 8192, 500).bounds is None
    assert PriorBlocks(boxes[1], 8192, 600).bounds is not None
    assert PriorBlocks(boxes[1][:1024], 8192, 100_000).bounds is None


@pytest.mark.parametrize('tiles', [True, False])
def test_values_are_put_together(boxes, tiles, request):
    if tiles:
        request.getfixturevalue('small_tiles')
    blocks = PriorBlocks(boxes[1], 300, 50)
    everywhere = torch.tensor([[-1e3, -1e3, 1e3, 1e3]])
    pieces = [(block.place, (block.numbers, block.priors.x1)) for block in blocks.blocks(everywhere)]
    numbers, left = blocks.collect(pieces, torch.int64, torch.float32)
    # A prior without area at the border of its block's bounds touches nothing: it keeps zero.
    assert ((numbers == torch.arange(2004)) | (numbers == 0)).all()
    assert torch.equal(left[numbers > 0], boxes[1][numbers > 0, 0])
    assert (numbers > 0).sum() >= 1900


@pytest.mark.parametrize('tiles', [True, False])
def test_iof_is_mmdets(boxes, tiles, request):
    if tiles:
        request.getfixturevalue('small_tiles')
    regions, priors = boxes
    wanted = bbox_overlaps(priors, regions[:7], mode='iof').amax(1)
    assert torch.equal(max_iof(PriorBlocks(priors, 300, 7), regions[:7]), wanted)
    assert (wanted == 0).any()
    assert wanted.max() == 1
