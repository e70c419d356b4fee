"""Error types and what they cost."""

import dataclasses

import numpy as np
import pytest

from mmdet_ext.evaluation.objects import SIZES
from mmdet_ext.evaluation.tide import ERRORS, tide_errors
from tests.test_evaluation.detection_case import image, random_images

A, B = [0, 0, 10, 10], [50, 50, 60, 60]
# What tidecv 1.0.1 gives for random_images(seed) with five classes: AP, gains of ERRORS, of false positives and
# negatives, of ERRORS for each of SIZES (`fix_main_errors(qual=...)`), all divided by 100; counts of ERRORS without
# those in ignored regions (`info['used'] is None`). Made from its sdist, with its plotting module left out.
TIDECV = {
    0: (
        0.3720484121311152,
        [0.089606322496, 0.061850159739, 0.001046114659, 0.026462800335, 0.015994867126, 0.101388752797],
        [0.166565449255, 0.170645315533],
        [
            [0.010827137659, 0.001272866362, 0.0, 0.003215706186, 0.003738114634, 0.021284464788],
            [0.053114699115, 0.053713981254, 0.001046114659, 0.018165962889, 0.012003530447, 0.049702464752],
            [0.024210440915, 0.006500952461, 0.0, 0.003706808156, 0.0, 0.022350259317],
        ],
        [26, 10, 3, 22, 20, 20],
    ),
    1: (
        0.3005196899766978,
        [0.078331712223, 0.057590987507, 0.011733089923, 0.032915943819, 0.039939954884, 0.090703797515],
        [0.240074369429, 0.144362106417],
        [
            [0.005089849276, 0.019255718675, 0.0, 0.002778471522, 0.003310613108, 0.0],
            [0.052963167042, 0.029567452395, 0.011733089923, 0.021952732491, 0.032911739388, 0.080210462467],
            [0.016170807726, 0.007077559022, 0.0, 0.006721369676, 0.0, 0.004929202598],
        ],
        [22, 12, 7, 34, 23, 18],
    ),
    2: (
        0.28634676162593914,
        [0.137577064076, 0.027263801326, 0.005638353913, 0.036009348479, 0.023819942939, 0.07831873572],
        [0.178999773028, 0.204652541271],
        [
            [0.005090121709, 0.0, 0.000819654951, 0.008025789915, 0.011836260443, 0.004067171423],
            [0.110995944071, 0.027263801326, 0.004794877031, 0.024424640413, 0.01114335224, 0.052289803964],
            [0.01147444438, 0.0, 0.0, 0.000423571769, 0.0, 0.015486041332],
        ],
        [23, 4, 7, 31, 19, 15],
    ),
}


@pytest.mark.parametrize('seed', TIDECV)
def test_equals_tidecv(seed):
    """With ignored regions, and a fifth class that has wrong detections only."""
    ap, gains, special, size_gains, counts = TIDECV[seed]
    found = tide_errors(random_images(seed), 5)
    assert found.ap == pytest.approx(ap, abs=1e-11)
    assert list(found.gains.values()) == pytest.approx(gains, abs=1e-11)
    assert [found.false_positives, found.false_negatives] == pytest.approx(special, abs=1e-11)
    assert list(found.counts.values()) == counts
    for size, expected in zip(SIZES, size_gains, strict=True):
        assert list(found.size_gains[size].values()) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(
    ('box', 'label', 'error'),
    [
        (A, 0, None),
        (A, 1, 'classification'),
        ([0, 0, 10, 4], 0, 'localisation'),
        ([0, 0, 10, 5], 0, 'localisation'),  # matches at exactly 0.5, see below
        ([0, 0, 10, 1], 0, 'localisation'),  # exactly the background threshold
        ([0, 0, 10, 4], 1, 'both'),
        ([0, 0, 10, 1], 1, 'background'),
        ([0, 0, 10, 0.9], 0, 'background'),
        ([80, 80, 90, 90], 0, 'background'),
        ([0, 0, 0, 0], 0, 'background'),
    ],
)
def test_each_type(box, label, error):
    """One object and one detection."""
    found = tide_errors([image(([A], [0]), ([box], [label], [0.5]))], 2)
    if box == [0, 0, 10, 5]:
        error = None
    expected = dict.fromkeys(ERRORS, 0)
    if error is not None:
        expected[error] = 1
        expected['missed'] = int(error in ('both', 'background'))
    assert found.counts == expected
    assert found.ap == (1 if error is None else 0)


def test_duplicates_and_their_gain():
    """Two boxes on A, then the one on B: precision 1 up to the recall 0.5, 2/3 beyond."""
    images = [image(([A, B], [0, 0]), ([A, [0, 0, 10, 9], B], [0, 0, 0], [0.9, 0.8, 0.7]))]
    found = tide_errors(images, 1)
    assert found.counts == dict.fromkeys(ERRORS, 0) | {'duplicate': 1}
    assert found.ap == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert found.gains['duplicate'] == pytest.approx(1 - found.ap)
    assert found.false_positives == pytest.approx(1 - found.ap)
    assert found.false_negatives == pytest.approx(0)
    # At IoU 0.5 exactly, TIDE takes a second box for one that is out of place.
    twice = tide_errors([image(([A], [0]), ([A, [0, 0, 10, 5]], [0, 0], [0.9, 0.8]))], 1)
    assert (twice.counts['localisation'], twice.counts['duplicate']) == (1, 0)


def test_the_best_of_several_repairs_an_object():
    """Only the first of two boxes of the wrong class becomes right, the other vanishes."""
    images = [image(([A], [0]), ([A, [0, 0, 10, 9]], [1, 1], [0.8, 0.9]))]
    found = tide_errors(images, 2)
    assert found.counts['classification'] == 2
    assert found.gains['classification'] == pytest.approx(1)
    # A better one of another type takes the repair away.
    images = [image(([A], [0]), ([[0, 0, 10, 4], A], [0, 1], [0.9, 0.8]))]
    found = tide_errors(images, 2)
    assert found.gains['localisation'] == pytest.approx(0.5)  # class 1 keeps its wrong detection and AP 0
    assert found.gains['classification'] == 0
    assert found.counts['missed'] == 0


def test_classes_and_sizes():
    """Class 0 misses a large object, class 1 is found beside nothing (a medium box)."""
    truth = ([[0, 0, 200, 200], [300, 0, 310, 10]], [0, 1])
    images = [image(truth, ([[300, 0, 310, 10], [500, 0, 550, 50]], [1, 1], [0.5, 0.9]))]
    found = tide_errors(images, 3)
    np.testing.assert_allclose(found.class_ap, [0, 0.5, np.nan])
    assert found.class_counts['missed'].tolist() == [1, 0, 0]
    assert found.class_counts['background'].tolist() == [0, 1, 0]
    np.testing.assert_allclose(found.class_gains['background'], [0, 0.5, 0])
    assert [found.size_counts[size]['missed'] for size in SIZES] == [0, 0, 1]
    assert found.size_counts['medium']['background'] == 1
    assert found.size_gains['medium']['background'] == pytest.approx(0.25)
    assert found.size_gains['small']['background'] == 0
    # The missed object is the only one of its class, which has no AP without it.
    assert found.gains['missed'] == pytest.approx(0.25)


def test_parts_add_up():
    found = tide_errors(random_images(5), 5)
    for error in ERRORS:
        assert found.class_counts[error].sum() == found.counts[error]
        assert sum(counts[error] for counts in found.size_counts.values()) == found.counts[error]
        assert found.class_gains[error].shape == (5,)


def test_ignored_regions():
    """A box in a region is no error; it may still be the one that would repair an object."""
    region = [[40, 40, 70, 70]]
    found = tide_errors([image(([A], [0]), ([A, B], [0, 0], [0.8, 0.9]), region)], 1)
    assert (found.ap, sum(found.counts.values())) == (1, 0)
    near = tide_errors([image(([B], [0]), ([[50, 50, 60, 54]], [0], [0.9]), region)], 1)
    assert sum(near.counts.values()) == 0
    assert near.gains['localisation'] == pytest.approx(1)


def test_only_the_best_detections_count():
    images = [image(([A], [0]), ([B, A], [0, 0], [0.9, 0.8]))]
    assert tide_errors(images, 1, max_dets=1).counts['missed'] == 1
    assert tide_errors(images, 1, max_dets=None).ap == pytest.approx(0.5)


def test_thresholds():
    images = [image(([A], [0]), ([[0, 0, 10, 4]], [0], [0.9]))]
    assert tide_errors(images, 1, pos_thr=0.3).ap == 1
    assert tide_errors(images, 1, background_thr=0.45).counts['background'] == 1
    for pos, background in ((0.5, 0.5), (0.5, 0), (1.1, 0.1), (0.1, 0.5)):
        with pytest.raises(ValueError, match='TIDE needs 0 < background_thr < pos_thr <= 1'):
            tide_errors(images, 1, pos, background)


def test_recalls_are_hundredths():
    """35 of 100 objects reach the recall 0.35, which in pycocotools' list is a bit above 35 / 100."""
    boxes = [[20 * k, 0, 20 * k + 10, 10] for k in range(100)]
    found = tide_errors([image((boxes, [0] * 100), (boxes[:35], [0] * 35, np.linspace(1, 0.5, 35)))], 1)
    assert found.ap == pytest.approx(36 / 101)


def test_nothing():
    for images in ([], [image(([], []))], [image(([[0, 0, np.nan, 1]], [0]), ([A], [0], [np.nan]))]):
        found = tide_errors(images, 2)
        assert np.isnan(found.ap)
        assert set(found.counts.values()) == {0}
        assert {*found.gains.values(), found.false_positives, found.false_negatives} == {0}
    # A class that vanishes with its errors leaves nothing to gain.
    only_wrong = tide_errors([image(([], []), ([A], [0], [0.9]))], 1)
    assert (only_wrong.ap, only_wrong.gains['background'], only_wrong.counts['background']) == (0, 0, 1)
    only_missed = tide_errors([image(([A], [0]))], 1)
    assert (only_missed.ap, only_missed.counts['missed'], only_missed.false_negatives) == (0, 1, 0)


def test_a_label_that_is_no_class():
    with pytest.raises(ValueError, match='image 0 has a detection of label 3, but there are 3 classes'):
        tide_errors([image(([], []), ([A], [3], [0.9]))], 3)


def test_order_of_images_and_boxes_does_not_matter():
    images = random_images(6)
    mixed = []
    for one in images[::-1]:
        found = one.detections[np.arange(len(one.detections))[::-1]]
        mixed.append(image((one.truth.boxes, one.truth.labels), (found.boxes, found.labels, found.scores), one.ignored))
    first, second = (dataclasses.asdict(tide_errors(some, 5)) for some in (images, mixed))
    np.testing.assert_equal(second, first)
