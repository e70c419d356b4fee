"""AP at 101 recalls."""

import numpy as np
import pytest

from mmdet_ext.evaluation.average_precision import (
    COCO_IOUS,
    COCO_RECALLS,
    average_precision,
    class_precisions,
    detection_ap,
    mean_ap,
)
from mmdet_ext.evaluation.matching import pair_table
from tests.test_evaluation.coco_case import coco_eval, coco_precisions
from tests.test_evaluation.detection_case import image, random_images


@pytest.mark.parametrize(
    ('hits', 'num_truth', 'expected'),
    [
        ([1, 1], 2, 1),
        ([0, 0], 2, 0),
        ([], 2, 0),
        ([0, 1], 1, 0.5),  # precision 1/2 at every recall
        ([1, 0], 2, 51 / 101),  # precision 1 up to the recall 0.5, 0 beyond
        ([1, 0, 1], 2, (51 + 50 * 2 / 3) / 101),  # then 2/3
        ([0, 1, 1], 2, 2 / 3),  # the envelope lifts the first half from 1/2
    ],
)
def test_by_hand(hits, num_truth, expected):
    assert average_precision(np.array(hits, bool), num_truth) == pytest.approx(expected, abs=1e-12)


def test_without_objects():
    assert np.isnan(average_precision(np.array([True]), 0))


def test_roundings_of_a_recall():
    """35 of 100 is a recall of 0.35; pycocotools' number there is a bit above it, so it does not reach it."""
    hits = np.array([True] * 35)
    assert average_precision(hits, 100) * 101 == pytest.approx(35)
    assert average_precision(hits, 100, np.arange(101) / 100) * 101 == pytest.approx(36)
    assert COCO_RECALLS[35] > 35 / 100


def test_classes_are_kept_apart():
    labels, hits = np.array([1, 0, 1, 3]), np.array([False, True, True, False])
    found = class_precisions(labels, hits, np.array([1, 1, 1, 0]))
    np.testing.assert_allclose(found, [1, 0.5, 0, np.nan])
    kept = class_precisions(labels, hits, np.array([1, 1, 1, 0]), np.array([True, True, False, True]))
    np.testing.assert_allclose(kept, [1, 0, 0, np.nan])
    assert mean_ap(found) == pytest.approx(0.5)
    assert np.isnan(mean_ap(np.array([np.nan])))
    assert np.isnan(mean_ap(np.zeros((10, 0))))


@pytest.mark.parametrize('seed', range(4))
def test_equals_pycocotools(seed):
    """With ignored regions, images without objects or detections, and a class that has none."""
    images = random_images(seed)
    found = detection_ap(pair_table(images, 5))
    expected = coco_precisions(coco_eval(images, 5))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert 0.05 < mean_ap(found) < 0.9
    assert np.isnan(found[:, 4]).all()


def test_few_detections_count():
    images = random_images(0)
    expected = coco_precisions(coco_eval(images, 5, max_det=1))
    np.testing.assert_allclose(detection_ap(pair_table(images, 5, max_dets=1)), expected, atol=1e-12)


def test_thresholds():
    """A box of IoU 0.6 is right at 0.5, 0.55 and 0.6."""
    table = pair_table([image(([[0, 0, 10, 10]], [0]), ([[0, 0, 10, 6]], [0], [1]))], 1)
    assert detection_ap(table)[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
    assert detection_ap(table, (0.6, 0.7)).tolist() == [[1], [0]]
    np.testing.assert_allclose(COCO_IOUS, np.arange(50, 100, 5) / 100)


def test_nothing():
    assert detection_ap(pair_table([], 2)).shape == (10, 2)
    assert detection_ap(pair_table([], 0)).shape == (10, 0)
