"""Greedy matching in order of IoU, without a table of all pairs.

Greedy: of all pairs (ground truth, prior) the one of highest IoU is matched, then the next one whose ground truth and
prior are both free, and so on; equal IoUs by number of the ground truth, then of the prior.

A pair that is first for its ground truth and first for its prior is matched whatever else there is, since no pair
that comes earlier could take either. One pass over the priors finds these, in most images all. For s ground truths
that remain, the first s priors of each among those left are enough, because the others take at most s - 1 of them: a
second pass.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .overlap_scan import Rule, scan_candidates
from .pair_keys import unpack_prior_on_host
from .prior_blocks import PriorBlocks


class Matching(NamedTuple):
    """Pairs on the host.

    Attributes:
        gts: (p,) number of the ground truth of each pair.
        priors: (p,) number of its prior.
        num_conflicts: how often a ground truth lost its first prior to another one (per level, if matched so).
    """

    gts: np.ndarray
    priors: np.ndarray
    num_conflicts: int


def match_candidates(keys: np.ndarray) -> np.ndarray:
    """Greedy matching of rows with the priors in their lists.

    Every row asks for the first prior of its list; each prior keeps the row of highest IoU (of equals the first row)
    and turns the others away, which ask for their next one (deferred acceptance, Gale and Shapley 1962). As both sides
    go by the same order of pairs there is one stable matching, and that is the greedy one.

    Args:
        keys: (s, m) of :func:`.pair_keys.pack`, descending in each row; negative: no candidate.

    Returns:
        (s,) number of the prior; -1: none left.
    """
    keys = np.concatenate([keys, np.full((len(keys), 1), -1)], axis=1)
    choice = np.zeros(len(keys), np.int64)
    while True:
        asked = keys[np.arange(len(keys)), choice]
        rows = np.flatnonzero(asked >= 0)
        prior = unpack_prior_on_host(asked[rows])
        # Keys of one prior differ in the IoU alone.
        order = np.lexsort((rows, -asked[rows], prior))
        turned_away = rows[order][1:][np.diff(prior[order]) == 0]
        if not len(turned_away):
            return unpack_prior_on_host(asked)
        choice[turned_away] += 1


def match_greedily(blocks: PriorBlocks, gts: Tensor, first: np.ndarray, rival: np.ndarray, rule: Rule) -> Matching:
    """Match each ground truth with a prior of its own, on each level where levels are matched for themselves.

    Waits for the device once, and only if ground truths are in each other's way.

    Args:
        blocks: of n > 0 priors.
        gts: (k, 4) xyxy, float32, k > 0.
        first: (k, levels), of :func:`.overlap_scan.scan_overlaps`, on the host.
        rival: (k, levels), from the same.
        rule: of the matching.
    """
    gt, level = np.nonzero(first >= 0)
    prior = unpack_prior_on_host(first[gt, level])
    settled = rival[gt, level] == gt
    if settled.all():
        return Matching(gt, prior, 0)
    rows = np.flatnonzero(~settled)
    most = int(np.unique(level[rows], return_counts=True)[1].max())
    chosen, taken_priors, levels = (
        torch.from_numpy(x).to(gts.device, non_blocking=True) for x in (gt[rows], prior[settled], level[rows])
    )
    taken = torch.zeros(blocks.number, dtype=torch.bool, device=gts.device)
    taken.index_fill_(0, taken_priors, True)
    candidates = scan_candidates(blocks, gts[chosen], levels, taken, rule, min(most, len(taken)))
    got = match_candidates(candidates.cpu().numpy())
    conflicts = int((got != prior[rows]).sum())
    prior[rows] = got
    matched = prior >= 0
    return Matching(gt[matched], prior[matched], conflicts)
