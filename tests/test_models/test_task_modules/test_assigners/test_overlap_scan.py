"""Passes over blocks equal the table of all pairs."""

import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps

from mmdet_ext.models.task_modules.assigners import prior_blocks
from mmdet_ext.models.task_modules.assigners.overlap_scan import MAX_LEVELS, Rule, scan_candidates, scan_overlaps
from mmdet_ext.models.task_modules.assigners.pair_keys import unpack_prior_on_host
from mmdet_ext.models.task_modules.assigners.prior_blocks import PriorBlocks

from .assigner_case import random_boxes, shapes_at_origin


@pytest.fixture(params=[False, True], ids=['all pairs', 'near pairs'])
def boxes(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(prior_blocks, 'MANY_PAIRS', 0)
        monkeypatch.setattr(prior_blocks, 'TILE', 16)
    generator = torch.Generator().manual_seed(0)
    priors, gts = random_boxes(200, generator).round(), random_boxes(30, generator).round()
    # Some that overlap nothing, and some priors several times.
    return torch.cat([priors, priors[:50]]), torch.cat([gts, torch.tensor([[5.0, 5, 5, 9], [500, 500, 510, 510]])])


@pytest.fixture(params=[('iou', 0.0), ('iou', 0.3), ('wh', 0.0), ('wh', 0.2)], ids=str)
def rule(request):
    return Rule(*request.param)


def ranks(priors, gts, rule):
    iou = bbox_overlaps(gts, priors)
    by = iou if rule.match == 'iou' else bbox_overlaps(shapes_at_origin(gts), shapes_at_origin(priors))
    return iou, by.where(iou > rule.min_iou, -1)


@pytest.mark.parametrize('size', [7, 8192])
def test_first_pairs(boxes, rule, size):
    priors, gts = boxes
    iou, rank = ranks(priors, gts, rule)
    found = scan_overlaps(PriorBlocks(priors, size, len(gts)), gts, rule)
    assert torch.equal(found.max_iou, iou.amax(0))
    # Priors that nothing overlaps have no ground truth to speak of.
    assert torch.equal(found.argmax * (found.max_iou > 0), iou.max(0).indices * (found.max_iou > 0))
    first = unpack_prior_on_host(found.first[:, 0].numpy())
    assert first.tolist() == [int(row.argmax()) if row.max() >= 0 else -1 for row in rank]
    assert (first < 0).sum() >= 2
    matched = first >= 0
    assert torch.equal(found.rival[matched, 0], rank.max(0).indices[first[matched]])


def test_first_pairs_of_each_level(boxes, rule):
    priors, gts = boxes
    levels = torch.arange(len(priors)) % 3 * 100
    rule = rule._replace(levels=levels)
    _, rank = ranks(priors, gts, rule)
    found = scan_overlaps(PriorBlocks(priors, 64, len(gts)), gts, rule)
    assert found.first.shape == found.rival.shape == (len(gts), MAX_LEVELS)
    for level in range(0, 300, 100)[:3]:
        here = rank.where(levels == level, -1)
        first = unpack_prior_on_host(found.first[:, level].numpy())
        assert first.tolist() == [int(row.argmax()) if row.max() >= 0 else -1 for row in here]
        matched = first >= 0
        assert torch.equal(found.rival[matched, level], rank.max(0).indices[first[matched]])
    assert (found.first[:, [1, 99, 255]] == -1).all()


def test_without_matching(boxes):
    priors, gts = boxes
    found = scan_overlaps(PriorBlocks(priors, 64, len(gts)), gts, None)
    assert found.first.shape == found.rival.shape == (len(gts), 0)
    assert torch.equal(found.max_iou, bbox_overlaps(gts, priors).amax(0))


@pytest.mark.parametrize('size', [7, 8192])
@pytest.mark.parametrize('levels', [False, True])
@pytest.mark.parametrize('number', [1, 5, 32])
def test_candidates(boxes, rule, size, levels, number):
    priors, gts = boxes
    level_of, own = torch.arange(len(priors)) % 2, torch.arange(len(gts)) % 2
    taken = torch.rand(len(priors)) < 0.3
    if levels:
        rule = rule._replace(levels=level_of)
    _, rank = ranks(priors, gts, rule)
    rank[:, taken] = -1
    if levels:
        rank[own[:, None] != level_of] = -1
    found = scan_candidates(PriorBlocks(priors, size, len(gts)), gts, own, taken, rule, number)
    order = rank.argsort(dim=1, descending=True, stable=True)[:, :number]
    wanted = order.where(rank.gather(1, order) >= 0, -1)
    assert unpack_prior_on_host(found.numpy()).tolist() == wanted.tolist()
