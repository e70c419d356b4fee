"""Recall of proposals."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.evaluation.functional.recall import _recalls

from mmdet_ext.evaluation.average_precision import COCO_IOUS
from mmdet_ext.evaluation.objects import SIZES, Objects, box_overlaps, no_objects
from mmdet_ext.evaluation.proposal_recall import COUNTS, ProposalRecall, measure_image
from tests.test_evaluation.coco_case import coco_eval, coco_precisions
from tests.test_evaluation.detection_case import objects, random_images

A, B = [0, 0, 10, 10], [50, 50, 60, 60]
THRS = tuple(np.arange(50, 100, 5) / 100 + 1e-7)  # never equal to an overlap, so float32 does not decide


def recall_of(images, counts=COUNTS, iou_thrs=COCO_IOUS):
    gathered = ProposalRecall(counts, iou_thrs)
    for one in images:
        gathered.add(one.truth.boxes, one.detections, one.ignored)
    return gathered.result()


@pytest.mark.parametrize('seed', range(3))
def test_recall_equals_the_loops_of_mmdet(seed):
    """`eval_recalls` itself fails on numpy from 1.24 on, the function behind it takes an array of matrices."""
    images = random_images(seed, 40)
    counts = np.array([1, 2, 3, 5, 100])
    matrices = np.empty(len(images), object)
    for place, one in enumerate(images):
        order = np.argsort(-one.detections.scores, kind='stable')
        matrices[place] = box_overlaps(one.truth.boxes, one.detections.boxes[order]).astype(np.float32)
    expected = _recalls(matrices, counts, np.array(THRS))
    found = recall_of(images, tuple(counts.tolist()), THRS)
    np.testing.assert_allclose(found.recall, expected, atol=1e-12)
    assert 0.05 < expected[0, 0] < expected[-1, 0] < 1


@pytest.mark.parametrize('seed', range(3))
def test_ap_equals_pycocotools_without_classes(seed):
    images = random_images(seed, 40)
    expected = coco_precisions(coco_eval(images, 5, use_cats=False, max_det=1000))
    found = recall_of(images)
    assert found.ap == pytest.approx(expected.mean(), abs=1e-12)
    assert found.ap_50 == pytest.approx(expected[0, 0], abs=1e-12)
    assert 0.05 < found.ap < found.ap_50 < 1


def test_by_hand():
    """A is found by the second proposal at IoU 0.8, B by none of them."""
    proposals = objects([[80, 80, 90, 90], [0, 0, 10, 8]], scores=[0.9, 0.8])
    gathered = ProposalRecall((1, 2), (0.5, 0.8, 0.9))
    gathered.add([A, B], proposals)
    found = gathered.result()
    assert found.recall.tolist() == [[0, 0, 0], [0.5, 0.5, 0]]
    assert (found.objects, found.proposals) == (2, 2)
    assert (found.at(2), found.at(2, 0.8), found.at(1, 0.5)) == (pytest.approx(1 / 3), 0.5, 0)
    # Precision 1/2 up to the recall 0.5.
    assert found.ap_50 == pytest.approx(0.5 * 51 / 101)
    assert found.ap == pytest.approx(2 / 3 * 0.5 * 51 / 101)


def test_every_object_has_a_proposal_of_its_own():
    """One box lies on both objects, and the nearer one gets it."""
    proposals = objects([[0, 0, 10, 10]], scores=[0.9])
    overlaps = measure_image([[0, 0, 10, 8], [0, 0, 10, 9]], proposals, counts=(1,)).overlaps
    np.testing.assert_allclose(overlaps, [[0, 0.9]], rtol=1e-6)


def test_sizes():
    truth = np.array([A, [0, 0, 50, 50], [0, 0, 100, 100], [200, 200, 300, 300]])
    gathered = ProposalRecall((10,), (0.5,))
    gathered.add(truth, objects(truth[1:3], scores=[0.5, 0.6]))
    found = gathered.result()
    assert [found.at(10, size=size) for size in SIZES] == [0, 1, 0.5]
    assert found.size_objects.tolist() == [1, 1, 2]
    assert found.at(10) == 0.5


def test_ignored_regions_do_not_lower_precision():
    proposals = objects([[50, 50, 60, 58], A], scores=[0.9, 0.8])
    assert measure_image([A], proposals, [B], (10,), (0.5, 0.75)).hits.tolist() == [[-1, 1], [-1, 1]]
    gathered = ProposalRecall()
    gathered.add([A], proposals, [B])
    assert gathered.result().ap == pytest.approx(1)


def test_without_objects_proposals_or_images():
    nothing = ProposalRecall().result()
    for found in (nothing, recall_of([])):
        assert np.isnan([found.ap, found.ap_50, found.proposals, found.at(10)]).all()
        assert found.objects == 0
    gathered = ProposalRecall()
    gathered.add([], objects([A]))
    assert np.isnan(gathered.result().at(100))
    assert gathered.result().proposals == 1
    gathered.add([A], no_objects())
    assert (gathered.result().at(100), gathered.result().ap, gathered.result().proposals) == (0, 0, 0.5)
    assert np.isnan(gathered.result().at(100, size='large'))


def test_what_is_not_finite_is_left_out():
    odd = [0, 0, np.nan, 10]
    found = measure_image([A, odd], Objects([odd, A, A], [0] * 3, [0.9, np.nan, 0.8]), [odd], (10,), (0.5,))
    assert found.overlaps.tolist() == [[1]]
    assert found.hits.tolist() == [[1]]


def test_the_best_proposals_count():
    proposals = objects([A, B], scores=[0.5, 0.9])
    found = measure_image([A], proposals, counts=(1,))
    assert (found.overlaps.tolist(), found.scores.tolist(), found.proposals) == ([[0]], [pytest.approx(0.9)], 2)


def test_half_is_not_among_the_thresholds():
    gathered = ProposalRecall((10,), (0.7,))
    gathered.add([A], objects([A]))
    assert gathered.result().ap == pytest.approx(1)
    assert np.isnan(gathered.result().ap_50)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.randoms())
def test_order_does_not_matter_and_more_proposals_never_hurt(seed, random):
    images = random_images(seed, 3)
    found = recall_of(images, (1, 2, 4, 100))
    mixed = []
    for one in images:
        order = np.array(random.sample(range(len(one.detections)), len(one.detections)), int)
        mixed.append(dataclasses.replace(one, detections=one.detections[order]))
    np.testing.assert_equal(dataclasses.asdict(recall_of(mixed, (1, 2, 4, 100))), dataclasses.asdict(found))
    if found.objects:
        assert (np.diff(found.recall, axis=1) <= 0).all()
        assert (np.diff(found.recall[:, 0]) >= 0).all()


@pytest.mark.parametrize('counts', [(), (0, 1), (3, 2), (1, 1), (1.5,), 10, None])
def test_bad_counts(counts):
    with pytest.raises(ValueError, match='counts must be whole numbers of proposals from 1 on that rise'):
        ProposalRecall(counts)


@pytest.mark.parametrize('thrs', [(), (0,), (1.1,), ('a',), 0.5, (0.7, 0.5), (0.5, 0.5)])
def test_bad_thresholds(thrs):
    with pytest.raises(ValueError, match='iou_thrs must'):
        ProposalRecall(iou_thrs=thrs)


def test_what_was_not_measured():
    found = ProposalRecall((10,)).result()
    for arguments in ((11,), (10, 0.51), (10, 0.5, 'tiny')):
        with pytest.raises(ValueError, match='recall was measured at'):
            found.at(*arguments)
