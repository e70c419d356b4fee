"""Best possible recall and objects without a positive."""

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis.anchor_coverage import anchor_coverage
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record, stage

SMALL, MEDIUM, LARGE = [0, 0, 10, 10], [0, 0, 50, 50], [0, 0, 100, 100]
HISTOGRAMS = [(2, 0), (6, 0), (1, 0)]


def two_images():
    first = stage(HISTOGRAMS, [0, 2], [0.25, 0.6], overlaps=np.array([0.6, 0.8], np.float32))
    second = stage([(0, 0), (7, 0), (0, 0)], [1], [0.7], level_priors=np.array([4, 0]), sampled=np.array([0, 3]))
    return [
        record(0, truth=objects([SMALL, MEDIUM]), stages={'rpn_head': first}),
        faulty(),
        record(1, truth=objects([LARGE]), stages={'rpn_head': second}),
    ]


def test_by_hand():
    (found,) = anchor_coverage(two_images(), (0.2, 0.6, 0.7, 0.8)).values()
    assert (found.kind, found.images, found.objects) == ('priors', 2, 3)
    # Overlaps in float32 reach a threshold they are equal to.
    np.testing.assert_allclose(found.best_recall, [1, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(found.size_recall, [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_allclose(found.best_iou, np.quantile([0.25, 0.6, 0.7], (0.1, 0.25, 0.5, 0.75)), rtol=1e-6)
    assert found.without_positive == pytest.approx(1 / 3)
    assert found.size_without_positive.tolist() == [1, 0, 0]
    assert found.size_objects.tolist() == [1, 1, 1]
    assert found.positives_per_object == 1
    assert found.assigned.tolist() == [1, 6.5, 0.5]
    assert found.sampled.tolist() == [1, 4.5]
    assert found.level_priors.tolist() == [5, 1]
    assert found.level_positives.tolist() == [1, 0]
    # The second image has no positives, so no overlaps.
    np.testing.assert_allclose(found.overlaps, [0.6, 0.8], rtol=1e-6)


def test_overlaps_are_a_mean_over_positives():
    """Two positives of 0.5 and one of 0.8; only the first head regresses."""
    first = stage(HISTOGRAMS, overlaps=np.array([0.5, 0.7], np.float32))
    second = stage([(1, 0), (0, 0), (0, 0)], overlaps=np.array([0.8, np.nan], np.float32))
    (found,) = anchor_coverage([record(stages={'a': first}), record(stages={'a': second})]).values()
    np.testing.assert_allclose(found.overlaps, [0.6, 0.7], rtol=1e-6)


def test_heads_are_kept_apart():
    heads = {'rpn_head': stage(HISTOGRAMS, [1], [0.4]), 'bbox_head': stage(HISTOGRAMS, [0], [0.1], kind='rois')}
    one = record(truth=objects([SMALL]), stages=heads)
    found = anchor_coverage([one])
    assert [(name, head.kind, head.without_positive) for name, head in found.items()] == [
        ('rpn_head', 'priors', 0), ('bbox_head', 'rois', 1)]  # fmt: skip


def test_images_of_different_levels():
    records = [record(stages={'a': stage(level_priors=np.array(n), level_positives=np.array(n))})
               for n in ([1], [1, 3], [2, 1, 6])]  # fmt: skip
    (found,) = anchor_coverage(records).values()
    assert found.level_priors.tolist() == found.level_positives.tolist() == pytest.approx([4 / 3, 4 / 3, 2])


def test_without_objects_or_records():
    assert anchor_coverage([]) == anchor_coverage([record()]) == {}
    (found,) = anchor_coverage([record(stages={'a': stage()})]).values()
    values = [*found.best_recall, *found.best_iou, found.without_positive, found.positives_per_object, *found.overlaps]
    assert np.isnan(values).all()
    assert np.isnan(found.size_without_positive).all()
    assert found.objects == 0


def test_an_overlap_that_is_nan_reaches_nothing():
    one = record(truth=objects([SMALL]), stages={'a': stage(gt_positives=[0], gt_iou=[np.nan])})
    (found,) = anchor_coverage([one]).values()
    assert found.best_recall.tolist() == [0] * 7
