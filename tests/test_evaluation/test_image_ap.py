"""AP and counts of a single image."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.evaluation.image_ap import image_ap
from tests.test_evaluation.coco_case import coco_eval, coco_precisions
from tests.test_evaluation.detection_case import image, random_images

A, B = [0, 0, 10, 10], [50, 50, 60, 60]


def counts(score):
    return score.true_positives, score.false_positives, score.false_negatives


def test_perfect():
    score = image_ap(image(([A, B], [0, 3]), ([B, A], [3, 0], [0.9, 0.8])))
    assert (score.ap, score.ap_50, *counts(score)) == (pytest.approx(1), pytest.approx(1), 2, 0, 0)


def test_by_hand():
    """Class 0: found at IoU 0.6, so at three thresholds of ten; class 1: a wrong detection before the right one."""
    found = ([[0, 0, 10, 6], [80, 80, 90, 90], B], [0, 1, 1], [0.9, 0.8, 0.7])
    score = image_ap(image(([A, B], [0, 1]), found))
    assert (score.ap, score.ap_50) == (pytest.approx((0.3 + 0.5) / 2), pytest.approx(0.75))
    assert counts(score) == (2, 1, 0)
    assert counts(image_ap(image(([A, B], [0, 1]), found), score_thr=0.75)) == (1, 1, 1)


def test_the_wrong_class_is_wrong_and_so_is_a_second_box():
    assert counts(image_ap(image(([A], [0]), ([A, A, A], [1, 0, 0], [0.9, 0.8, 0.7])))) == (1, 2, 0)


def test_ignored_regions():
    one = image(([A], [0]), ([A, [50, 50, 60, 58], [70, 70, 80, 80]], [0] * 3, [0.9, 0.95, 0.8]), [B])
    assert counts(image_ap(one)) == (1, 1, 0)
    assert image_ap(one).ap == pytest.approx(1)


def test_without_objects_or_detections():
    for one, expected in (
        (image(([], [])), (0, 0, 0)),
        (image(([], []), ([A], [0], [0.5])), (0, 1, 0)),
    ):
        assert np.isnan([image_ap(one).ap, image_ap(one).ap_50]).all()
        assert counts(image_ap(one)) == expected
    score = image_ap(image(([A], [2])))
    assert (score.ap, score.ap_50, *counts(score)) == (0, 0, 0, 0, 1)


def test_what_is_not_finite_is_left_out():
    odd = [[0, 0, np.nan, 10]]
    score = image_ap(image(([A, *odd], [0, 0]), ([A, *odd, A], [0, 0, 0], [0.9, 0.8, np.nan])))
    assert (score.ap, *counts(score)) == (pytest.approx(1), 1, 0, 0)


def test_best_detections_of_a_class():
    one = image(([A], [0]), ([B, A], [0, 0], [0.9, 0.8]))
    assert image_ap(one, max_dets=1).ap == 0
    assert image_ap(one, max_dets=None).ap == pytest.approx(0.5)


def test_a_negative_label():
    with pytest.raises(ValueError, match='has an object of label -1'):
        image_ap(image(([A], [-1])))


def test_equals_pycocotools():
    for one in random_images(3, 40):
        expected = coco_precisions(coco_eval([one], 5))
        score = image_ap(one)
        for value, known in ((score.ap, expected), (score.ap_50, expected[0])):
            if np.isfinite(known).any():
                assert value == pytest.approx(np.nanmean(known), abs=1e-12)
            else:
                assert np.isnan(value)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.randoms())
def test_order_does_not_matter(seed, random):
    (one,) = random_images(seed, 1)
    order = random.sample(range(len(one.detections)), len(one.detections))
    found = one.detections[np.array(order, int)]
    mixed = image((one.truth.boxes, one.truth.labels), (found.boxes, found.labels, found.scores), one.ignored)
    np.testing.assert_equal(dataclasses.asdict(image_ap(mixed)), dataclasses.asdict(image_ap(one)))
    score = image_ap(one)
    assert score.true_positives + score.false_negatives == len(one.truth)
