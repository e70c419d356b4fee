"""Scores of positives and negatives."""

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis.record import SCORE_BINS
from mmdet_ext.analysis.diagnosis.score_stats import score_stats
from tests.test_analysis.test_diagnosis.record_case import faulty, record, stage


def test_histograms_are_summed_over_images():
    found = score_stats([
        record(0, stages={'rpn_head': stage([(1, 3), (90, 10), (0, 4)]), 'bbox_head': stage([(0, 1), (9, 0), (0, 0)])}),
        record(1, stages={'rpn_head': stage([(0, 4), (60, 40), (8, 0)])}),
        faulty(),
    ])  # fmt: skip
    assert list(found) == ['rpn_head', 'bbox_head']
    rpn = found['rpn_head']
    assert rpn.images == 2
    assert rpn.histograms[:, [0, -1]].tolist() == [[1, 7], [150, 50], [8, 4]]
    assert rpn.histograms.sum() == 220
    assert rpn.positives_above == 7 / 8
    assert rpn.negatives_above == 1 / 4
    assert rpn.all_above == 61 / 220
    # Of 8 x 200 pairs 7 x 150 are in order, 7 x 50 and 1 x 150 are ties.
    assert rpn.separation == pytest.approx((1050 + 250) / 1600)
    assert found['bbox_head'].separation == 1


def test_half_is_above_from_the_middle_bin_on():
    one = stage()
    one.histograms[1] = 1
    one.histograms[0, SCORE_BINS // 2 - 1] = 1
    found = score_stats([record(stages={'head': one})])['head']
    assert (found.negatives_above, found.positives_above) == (0.5, 0)


def test_everything_is_an_object():
    """Seed 000."""
    found = score_stats([record(stages={'head': stage([(0, 168), (0, 5190), (0, 0)])})])['head']
    assert (found.negatives_above, found.all_above, found.separation) == (1, 1, 0.5)


def test_without_priors_or_heads():
    assert score_stats([]) == score_stats([record()]) == {}
    found = score_stats([record(stages={'head': stage()})])['head']
    assert np.isnan([found.positives_above, found.negatives_above, found.all_above, found.separation]).all()
