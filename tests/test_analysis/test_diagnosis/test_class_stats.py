"""AP of classes and sizes, and names."""

import numpy as np
import pytest

from mmdet_ext.analysis.diagnosis.class_stats import class_stats
from mmdet_ext.evaluation.average_precision import detection_ap, mean_ap
from mmdet_ext.evaluation.confusion import confusion_matrix
from mmdet_ext.evaluation.matching import pair_table
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record
from tests.test_evaluation.detection_case import random_images

SMALL, MEDIUM, LARGE = [0, 0, 10, 10], [100, 0, 150, 50], [200, 200, 300, 300]


def test_by_hand():
    """Class 0: a small one found, a large one missed; class 1: a medium one at IoU 0.6; class 2 has no objects."""
    truth = objects([SMALL, LARGE, MEDIUM], [0, 0, 1])
    found = objects([SMALL, [100, 0, 150, 30]], [0, 1], [0.9, 0.8])
    stats = class_stats([record(truth=truth, detections=found), faulty()], 3)
    half = 51 / 101
    np.testing.assert_allclose(stats.class_ap, [half, 0.3, np.nan])
    np.testing.assert_allclose(stats.class_ap_50, [half, 1, np.nan])
    assert (stats.ap, stats.ap_50, stats.ap_75) == pytest.approx(((half + 0.3) / 2, (half + 1) / 2, half / 2))
    assert stats.recall == pytest.approx((0.5 + 0.3) / 2)
    np.testing.assert_allclose(stats.class_size_ap, [[1, np.nan, 0], [np.nan, 0.3, np.nan], [np.nan] * 3])
    np.testing.assert_allclose(stats.size_ap, [1, 0.3, 0])
    assert stats.class_objects.tolist() == [2, 1, 0]
    assert stats.size_objects.tolist() == [1, 1, 1]
    assert stats.confusion.sum(0).tolist() == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert (stats.exchange.now, stats.exchange.offset) == (1, 0)


def test_figures_are_those_of_the_measures():
    images = random_images(0)
    records = [record(k, truth=one.truth, detections=one.detections, ignored=one.ignored) for k, one in
               enumerate(images)]  # fmt: skip
    stats = class_stats(records, 5, score_thr=0.2)
    precisions = detection_ap(pair_table(images, 5))
    np.testing.assert_allclose(stats.class_ap, precisions.mean(0), atol=1e-12)
    assert (stats.ap, stats.ap_50) == pytest.approx((mean_ap(precisions), mean_ap(precisions[0])))
    np.testing.assert_array_equal(stats.confusion, confusion_matrix(images, 5, score_thr=0.2))
    assert stats.class_objects.sum() == stats.size_objects.sum() == sum(len(one.truth) for one in images)


def test_shifted_labels():
    """Everything is found and named one class too high."""
    truth = objects([SMALL, MEDIUM, LARGE], [0, 1, 2])
    found = objects(truth.boxes, [1, 2, 0], [0.9, 0.8, 0.7])
    stats = class_stats([record(truth=truth, detections=found)], 3)
    assert (stats.ap, stats.exchange.now, stats.exchange.then, stats.exchange.offset) == (0, 0, 1, -1)


def test_further_classes_of_the_model_are_left_out():
    one = record(truth=objects([SMALL]), detections=objects([SMALL, SMALL], [7, 0], [0.9, 0.8]))
    assert class_stats([one], 1).ap == pytest.approx(1)
    with pytest.raises(ValueError, match='has an object of label 2, but there are 2 classes'):
        class_stats([record(truth=objects([SMALL], [2]))], 2)


def test_nothing():
    for records in ([], [record()], [record(detections=objects([SMALL]))]):
        stats = class_stats(records, 2)
        assert np.isnan([stats.ap, stats.ap_50, stats.ap_75, stats.recall, *stats.class_ap, *stats.size_ap]).all()
        assert stats.class_objects.tolist() == [0, 0]
    assert class_stats([record(truth=objects([SMALL]))], 2).ap == 0
