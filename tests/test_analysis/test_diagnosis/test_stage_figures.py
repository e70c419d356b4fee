"""Figures of all heads, against plain loops."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmdet.structures.bbox import bbox_overlaps

from mmdet_ext.analysis.diagnosis import stage_figures
from mmdet_ext.analysis.diagnosis.record import SCORE_BINS
from mmdet_ext.analysis.diagnosis.stage_figures import (
    best_overlaps,
    count,
    figures_of_matching,
    mean_overlaps,
    place_of,
    sampled_counts,
    score_histograms,
)

BOXES = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [30, 30, 40, 40], [7, 7, 7, 7]])


def test_best_overlaps_in_parts(monkeypatch):
    gts = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [90, 90, 99, 99], [7, 7, 7, 7]])
    expected = bbox_overlaps(gts, BOXES).max(1).values
    torch.testing.assert_close(expected, torch.tensor([1, 0.5, 0, 0]))
    for pairs in (1, 5, 100):
        monkeypatch.setattr(stage_figures, '_PAIRS', pairs)
        assert torch.equal(best_overlaps(gts, BOXES), expected)
    assert best_overlaps(gts, BOXES[:0]).tolist() == [0] * 4
    assert best_overlaps(gts[:0], BOXES).shape == best_overlaps(gts[:0], BOXES[:0]).shape == (0,)


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(-1, 3)), max_size=30))
def test_histograms_against_a_loop(rows):
    expected = np.zeros((3, SCORE_BINS), np.int64)
    for score, gt in rows:
        place = 0 if gt > 0 else 1 if gt == 0 else 2
        expected[place, min(int(np.float32(score) * np.float32(SCORE_BINS)), SCORE_BINS - 1)] += 1
    scores = torch.tensor([score for score, _ in rows], dtype=torch.float32)
    places = place_of(torch.tensor([gt for _, gt in rows], dtype=torch.long))
    assert np.array_equal(score_histograms(scores, places), expected)


def test_scores_that_are_no_numbers_are_in_no_bin():
    found = score_histograms(torch.tensor([float('nan'), float('inf'), 1.0, 0.0]), torch.tensor([0, 0, 1, 2]))
    assert found.sum(1).tolist() == [0, 1, 1]
    assert found[1, -1] == found[2, 0] == 1


def matching(gt_inds, sampled=None, priors=BOXES):
    gts = torch.tensor([[0.0, 0, 10, 10], [60, 60, 70, 70], [4, 0, 14, 10]])
    return SimpleNamespace(priors=priors, gts=gts, gt_inds=torch.tensor(gt_inds), sampled=sampled)


def test_figures_of_a_matching():
    found = figures_of_matching(matching([1, 3, -1, 0]), torch.tensor([2.0, 1, 2, 1]))
    assert found['assigned'].tolist() == [2, 1, 1]
    assert found['gt_positives'].tolist() == [1, 0, 1]
    np.testing.assert_allclose(found['gt_iou'], [1, 0, 9 / 11])
    assert found['positives'].tolist() == [[0, 0, 5, 10], [2.5, 0, 7.5, 10]]
    assert found['positive_gt'].tolist() == [0, 2]
    assert [found[key].dtype for key in ('assigned', 'gt_iou', 'positives')] == [np.int64, np.float32, np.float32]


def test_only_the_first_positives_are_kept(monkeypatch):
    monkeypatch.setattr(stage_figures, 'POSITIVES', 1)
    found = figures_of_matching(matching([0, 3, 1, 1]), torch.ones(4))
    assert found['positives'].tolist() == BOXES[1:2].tolist()
    assert found['gt_positives'].tolist() == [2, 0, 1]


def test_sampled_or_all():
    sampled = SimpleNamespace(pos_inds=torch.tensor([1]), neg_inds=torch.tensor([0, 3]))
    assert sampled_counts(matching([1, 3, -1, 0], sampled)).tolist() == [1, 2]
    assert sampled_counts(matching([1, 3, -1, 0])).tolist() == [2, 1]


def test_mean_overlaps():
    gts = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    np.testing.assert_allclose(mean_overlaps(BOXES[:2], gts, gts), [(1 + 1 / 3) / 2, 1], rtol=1e-6)
    assert np.isnan(mean_overlaps(BOXES[:2], None, gts)).tolist() == [False, True]
    assert np.isnan(mean_overlaps(BOXES[:0], BOXES[:0], gts[:0])).all()


def test_counts():
    assert count(torch.tensor([0, 2, 2]), 4).tolist() == [1, 0, 2, 0]
    assert count(torch.zeros(0, dtype=torch.long), 2).tolist() == [0, 0]
    with pytest.raises(RuntimeError):
        count(torch.tensor([-1]), 2)
