"""Passes over blocks of priors: what thresholds and matching need to know, in memory O(priors + gts * m)."""

from typing import NamedTuple

import torch
from torch import Tensor

from .pair_keys import pack, unpack_prior
from .prior_blocks import Block, PriorBlocks, pairwise_iou, pairwise_wh_iou

# Room for every id that a level may have: to count them would be a wait on a GPU.
MAX_LEVELS = 256


class Rule(NamedTuple):
    """Which pairs may be matched, and in which order.

    Attributes:
        match: `'iou'` or `'wh'`.
        min_iou: a pair needs a higher IoU than this.
        levels: (n,) int64 level of each prior, each level being matched for itself; None: all priors together.
    """

    match: str
    min_iou: float
    levels: Tensor | None = None

    def rank(self, iou: Tensor, block: Block) -> Tensor:
        """(g, c) float32: the higher, the earlier; -1 for pairs that must not be matched."""
        ranked = iou if self.match == 'iou' else pairwise_wh_iou(block.boxes, block.priors)
        return torch.where(iou > self.min_iou, ranked, -1.0)


class Scan(NamedTuple):
    """What one pass finds.

    Attributes:
        max_iou: (n,) float32, highest IoU of each prior.
        argmax: (n,) int64, the ground truth it has it with, the first of equals.
        first: (k, levels) int64, :func:`.pair_keys.pack` of the first pair of each ground truth; negative: none.
        rival: (k, levels) int64, the ground truth that is first for the prior of that pair.
    """

    max_iou: Tensor
    argmax: Tensor
    first: Tensor
    rival: Tensor


def _best_gt(rank: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """(c,) highest value of each column, and the number of its ground truth, the first of equals."""
    highest, row = rank.max(0)
    return highest, row if block.near is None else block.near[row]


def _best_prior(iou: Tensor, rank: Tensor | None, block: Block, rule: Rule) -> Tensor:
    """(g, levels) keys of the first pair of each row; without rank the IoU is what counts."""
    if rule.levels is not None:
        levels = rule.levels[block.numbers].expand_as(iou)
        keys = pack(rule.rank(iou, block) if rank is None else rank, block.numbers)
        return levels.new_full((len(iou), MAX_LEVELS), -1).scatter_reduce_(1, levels, keys, 'amax')
    highest, column = (iou if rank is None else rank).max(1)
    if rank is None:
        highest = torch.where(highest > rule.min_iou, highest, -1.0)
    return pack(highest, block.numbers[column])[:, None]


def scan_overlaps(blocks: PriorBlocks, gts: Tensor, rule: Rule | None) -> Scan:
    """Highest IoUs of priors and ground truths.

    Args:
        blocks: of n > 0 priors.
        gts: (k, 4) xyxy, float32, k > 0.
        rule: of the matching; None: there is none, and `first` and `rival` have no levels.
    """
    columns = 0 if rule is None else 1 if rule.levels is None else MAX_LEVELS
    first = blocks.index.new_full((len(gts), columns), -1)
    best, winners = [], []
    for block in blocks.blocks(gts):
        iou = pairwise_iou(block.boxes, block.priors)
        best.append((block.place, _best_gt(iou, block)))
        if rule is None:
            continue
        rank = None
        # With 'iou' the ground truth of highest IoU is also the first one of the matching.
        if rule.match != 'iou':
            rank = rule.rank(iou, block)
            winners.append((block.place, _best_gt(rank, block)[1:]))
        found = _best_prior(iou, rank, block, rule)
        if block.near is None:
            first = torch.maximum(first, found)
        else:
            first[block.near] = torch.maximum(first[block.near], found)
    max_iou, argmax = blocks.collect(best, gts.dtype, torch.int64)
    (winner,) = blocks.collect(winners, torch.int64) if rule and rule.match != 'iou' else (argmax,)
    return Scan(max_iou, argmax, first, winner[unpack_prior(first)])


def scan_candidates(blocks: PriorBlocks, gts: Tensor, levels: Tensor, taken: Tensor, rule: Rule, number: int) -> Tensor:
    """First pairs of each ground truth with the priors that are left.

    Args:
        blocks: of n > 0 priors.
        gts: (s, 4) xyxy, float32; s > 0.
        levels: (s,) the level on which each is matched; of no meaning where `rule` has none.
        taken: (n,) bool, priors that are not left.
        rule: of the matching.
        number: m, candidates per ground truth; at most n.

    Returns:
        (s, m) keys of :func:`.pair_keys.pack`, descending; negative: no further candidate.
    """
    top = levels.new_full((len(gts), number), -1)
    for block in blocks.blocks(gts):
        rank = rule.rank(pairwise_iou(block.boxes, block.priors), block)
        near = slice(None) if block.near is None else block.near
        barred = taken[block.numbers]
        if rule.levels is not None:
            barred = barred | (levels[near, None] != rule.levels[block.numbers])
        keys = pack(rank, block.numbers).masked_fill(barred, -1)
        top[near] = torch.cat([top[near], keys], dim=1).topk(number, dim=1).values
    return top
