"""Matching without all pairs equals greedy over all pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.models.task_modules.assigners import greedy_matching
from mmdet_ext.models.task_modules.assigners.greedy_matching import match_candidates, match_greedily
from mmdet_ext.models.task_modules.assigners.overlap_scan import Rule, scan_overlaps
from mmdet_ext.models.task_modules.assigners.pair_keys import pack
from mmdet_ext.models.task_modules.assigners.prior_blocks import PriorBlocks

from .assigner_case import box_lists, slow_assign


def keys_of(rank):
    return pack(rank, torch.arange(rank.shape[1])).sort(dim=1, descending=True).values.numpy()


def slow_match(rank):
    pairs = sorted((-rank[g][p], g, p) for g in range(len(rank)) for p in range(len(rank[g])) if rank[g][p] >= 0)
    matched = {}
    for _, gt, prior in pairs:
        if gt not in matched and prior not in matched.values():
            matched[gt] = prior
    return [matched.get(gt, -1) for gt in range(len(rank))]


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_lists_are_matched_greedily(rows, columns, data):
    value = st.sampled_from([-1.0, 0.25, 0.5, 0.75, 1.0])
    rank = data.draw(st.lists(st.lists(value, min_size=columns, max_size=columns), min_size=rows, max_size=rows))
    assert match_candidates(keys_of(torch.tensor(rank))).tolist() == slow_match(rank)


def test_a_row_that_is_turned_away_may_turn_another_away():
    # Row 0 loses prior 0 to row 1, takes prior 1 from row 2, which takes prior 2.
    rank = [[0.8, 0.7, -1.0], [0.9, -1.0, -1.0], [-1.0, 0.6, 0.5]]
    assert match_candidates(keys_of(torch.tensor(rank))).tolist() == [1, 0, 2]


def match(priors, gts, levels=None):
    rule = Rule('iou', 0.0, levels)
    blocks = PriorBlocks(priors, 8192, len(gts))
    found = scan_overlaps(blocks, gts, rule)
    return match_greedily(blocks, gts, found.first.numpy(), found.rival.numpy(), rule)


@settings(deadline=None, max_examples=60)
@given(box_lists(1, 12), box_lists(1, 12))
def test_pairs_and_conflicts(priors, gts):
    matching = match(priors, gts)
    wanted, _, unmatched, conflicts = slow_assign(priors, gts, pos_iou_thr=2, neg_iou_thr=2)
    assert {p: g + 1 for g, p in zip(matching.gts, matching.priors, strict=True)} == {
        p: number for p, number in enumerate(wanted) if number
    }
    assert len(matching.gts) == len(gts) - unmatched
    assert matching.num_conflicts == conflicts


@pytest.mark.parametrize(('number', 'wanted'), [(4, [[0, 0], [1, 1], [2, 2], [3, 3]]), (2, [[0, 0], [1, 1]])])
def test_equal_ground_truths(number, wanted):
    priors, gts = torch.tensor([[0.0, 0, 4, 4]]).repeat(number, 1), torch.tensor([[0.0, 0, 4, 3]]).repeat(4, 1)
    matching = match(priors, gts)
    assert sorted(zip(matching.gts.tolist(), matching.priors.tolist(), strict=True)) == [tuple(p) for p in wanted]
    assert matching.num_conflicts == 3


@pytest.mark.parametrize(('per_level', 'most'), [(False, 3), (True, 2)])
def test_as_many_candidates_as_rows_that_are_left(per_level, most, monkeypatch):
    asked = []
    scan = greedy_matching.scan_candidates

    def spy(*args):
        asked.append((len(args[1]), args[-1]))
        return scan(*args)

    monkeypatch.setattr(greedy_matching, 'scan_candidates', spy)
    box = torch.tensor([[0.0, 0, 4, 4]])
    # Four equal ground truths; on two levels three and two of equal ones.
    gts, priors, levels = box.repeat(4, 1), box.repeat(9, 1), None
    if per_level:
        gts, levels = box.repeat(3, 1), torch.tensor([0, 1] * 4 + [0])
    matching = match(priors, gts, levels)
    assert asked == [(most if not per_level else 4, most)]
    assert len(set(matching.priors)) == len(matching.priors) == (6 if per_level else 4)


def test_nothing_is_looked_for_without_conflict(monkeypatch):
    monkeypatch.setattr(greedy_matching, 'scan_candidates', None)
    priors = torch.tensor([[0.0, 0, 4, 4], [10, 0, 14, 4]])
    matching = match(priors, priors.flip(0))
    np.testing.assert_array_equal(matching.gts, [0, 1])
    np.testing.assert_array_equal(matching.priors, [1, 0])
    assert matching.num_conflicts == 0
