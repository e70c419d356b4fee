"""Which name a detector gives to each annotated object."""

import numpy as np
import pytest

from mmdet_ext.evaluation.confusion import NOT_FOUND, confusion_matrix, name_objects
from mmdet_ext.evaluation.objects import Objects, no_objects
from tests.test_evaluation.detection_case import image, random_images

TRUTH = Objects([[0, 0, 10, 10], [20, 20, 40, 40], [60, 60, 70, 70]], [0, 1, 2], [1, 1, 1])


def test_most_confident_detection_names_the_object():
    detected = Objects([[0, 0, 10, 10], [0, 0, 10, 11], [20, 20, 40, 39]], [0, 2, 1], [0.4, 0.6, 0.9])
    assert name_objects(TRUTH, detected).tolist() == [2, 1, NOT_FOUND]


def test_score_and_overlap_thresholds():
    detected = Objects([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 1], [0.29, 0.9])
    assert name_objects(TRUTH, detected).tolist() == [0, NOT_FOUND, NOT_FOUND]
    assert name_objects(TRUTH, detected, score_thr=0.3).tolist() == [NOT_FOUND] * 3
    assert name_objects(TRUTH, detected, iou_thr=0.25).tolist() == [0, 1, NOT_FOUND]


def test_nothing_annotated_or_detected():
    assert name_objects(no_objects(), TRUTH).shape == (0,)
    assert name_objects(TRUTH, no_objects()).tolist() == [NOT_FOUND] * 3


def test_matrix_by_hand():
    """Of two classes: one right, one wrong, one missed; one detection on nothing, one too far off, one too weak."""
    truth = ([[0, 0, 10, 10], [0, 50, 60, 110], [100, 100, 200, 200]], [0, 0, 1])
    found = ([[0, 0, 10, 10], [0, 50, 60, 110], [100, 100, 140, 140], [300, 0, 310, 10], [300, 0, 310, 10]],
             [0, 1, 1, 0, 1], [0.9, 0.8, 0.7, 0.6, 0.1])  # fmt: skip
    small, medium, large = confusion_matrix([image(truth, found)], 2, score_thr=0.2).tolist()
    assert small == [[1, 0, 0], [0, 0, 0], [1, 0, 0]]
    assert medium == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]
    assert large == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_ignored_regions_are_not_nothing():
    one = image(([], []), ([[0, 0, 10, 10], [0, 0, 30, 10]], [0, 1], [0.9, 0.8]), [[0, 0, 10, 10]])
    assert confusion_matrix([one], 2).sum(0)[-1].tolist() == [0, 1, 0]


def test_every_object_counts_once():
    images = random_images(0)
    counts = confusion_matrix(images, 5).sum(0)
    labels = np.concatenate([one.truth.labels for one in images])
    assert counts[:5].sum(1).tolist() == np.bincount(labels, minlength=5).tolist()
    assert counts[5, 5] == 0
    assert counts[5].sum() > 5


def test_empty_and_not_finite():
    assert confusion_matrix([], 3).shape == (3, 4, 4)
    odd = image(([[0, 0, np.nan, 1]], [0]), ([[0, 0, 1, 1], [0, 0, np.inf, 1]], [0, 0], [np.nan, 1]))
    assert confusion_matrix([odd], 1).sum() == 0


def test_a_label_that_is_no_class():
    with pytest.raises(ValueError, match='image 0 has an object of label 2, but there are 2 classes'):
        confusion_matrix([image(([[0, 0, 1, 1]], [2]))], 2)
