"""Greedy matching of whole data sets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.evaluation.matching import choose_pairs, pair_table
from mmdet_ext.evaluation.objects import box_overlaps
from tests.test_evaluation.detection_case import image, random_images

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=40)


@given(pairs)
def test_choice_equals_a_slow_one(rows):
    left, right = np.array(rows, int).reshape(-1, 2).T
    lefts, rights, expected = set(), set(), []
    for a, b in rows:
        expected.append(a not in lefts and b not in rights)
        if expected[-1]:
            lefts.add(a)
            rights.add(b)
    assert choose_pairs(left, right).tolist() == expected


def slow_match(one, thr, ties):
    """As in the loops of pycocotools (the last of equal overlaps) and tidecv (the first)."""
    iou = box_overlaps(one.detections.boxes, one.truth.boxes)
    free, found = set(range(len(one.truth))), {}
    for row in np.argsort(-one.detections.scores, kind='stable'):
        able = [k for k in sorted(free) if iou[row, k] >= thr and one.truth.labels[k] == one.detections.labels[row]]
        if able:
            best = max(able, key=lambda k: (iou[row, k], k if ties == 'coco' else -k))
            found[float(one.detections.scores[row])] = best
            free.discard(best)
    return found


@pytest.mark.parametrize('rules', ['coco', 'tide'])
@pytest.mark.parametrize('thr', [0.5, 0.75])
def test_match_equals_a_slow_one(rules, thr):
    images = random_images(0)
    table = pair_table(images, 5, rules)
    starts = np.cumsum([0, *(len(one.truth) for one in images)])
    found = table.match(thr)
    expected = {score: start + k for one, start in zip(images, starts, strict=False)
                for score, k in slow_match(one, thr, rules).items()}  # fmt: skip
    assert {float(table.scores[row]): found[row] for row in np.flatnonzero(found >= 0)} == expected
    assert len(expected) > 10


@pytest.mark.parametrize(('rules', 'chosen'), [('coco', 1), ('tide', 0)])
def test_equal_overlaps(rules, chosen):
    """The detection lies in the middle of two objects."""
    one = image(([[0, 0, 10, 10], [2, 0, 12, 10]], [0, 0]), ([[1, 0, 11, 10]], [0], [1]))
    assert pair_table([one], 1, rules).match(0.5).tolist() == [chosen]


def test_detections_are_in_order_of_their_scores():
    """Of equal scores by image and place; sizes, labels and images go with them."""
    first = image(([], []), ([[0, 0, 9, 9], [0, 0, 50, 50]], [0, 1], [0.5, 0.25]))
    second = image(([], []), ([[0, 0, 99, 99], [0, 0, 9, 9], [0, 0, 50, 50]], [2, 0, 1], [0.75, 0.5, 0.5]))
    table = pair_table([first, second], 3)
    assert table.scores.tolist() == [0.75, 0.5, 0.5, 0.5, 0.25]
    assert table.labels.tolist() == [2, 0, 0, 1, 1]
    assert table.sizes.tolist() == [2, 0, 0, 1, 1]
    assert table.image.tolist() == [1, 0, 1, 1, 0]
    assert table.ignored.tolist() == [0] * 5


def test_the_best_of_an_image_or_of_each_class_count():
    found = ([[0, 0, 9, 9]] * 5, [0, 0, 1, 0, 1], [0.5, 0.25, 0.125, 0.75, 0.0625])
    assert pair_table([image(([], []), found)], 2, 'tide', 2).scores.tolist() == [0.75, 0.5]
    assert pair_table([image(([], []), found)], 2, 'coco', 2).scores.tolist() == [0.75, 0.5, 0.125, 0.0625]
    assert pair_table([image(([], []), found)], 2, 'coco', 1).scores.tolist() == [0.75, 0.125]
    assert len(pair_table([image(([], []), found)], 2, 'coco', None).scores) == 5


def test_pairs_that_are_kept():
    """COCO's rules need one class and the lowest threshold, TIDE's any overlap."""
    one = image(([[0, 0, 10, 10], [0, 0, 10, 10]], [0, 1]), ([[0, 0, 10, 4], [0, 0, 10, 9], [50, 50, 60, 60]], [0] * 3,
                [0.9, 0.8, 0.7]))  # fmt: skip
    table = pair_table([one], 2, 'coco')
    assert [table.detection.tolist(), table.truth.tolist(), table.overlap.tolist()] == [[1], [0], [0.9]]
    assert len(pair_table([one], 2, 'coco', min_iou=0.3).detection) == 2
    table = pair_table([one], 2, 'tide')
    assert table.detection.tolist() == [0, 0, 1, 1]
    assert table.same_class.tolist() == [True, False, True, False]
    assert table.num_truth.tolist() == [1, 1]


def test_share_within_ignored_regions():
    one = image(([], []), ([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 0], [0.9, 0.8]), [[0, 0, 4, 10], [0, 0, 10, 7]])
    assert pair_table([one], 1).ignored.tolist() == pytest.approx([0.7, 0])


def test_nothing_and_nan():
    for images in ([], [image(([], []))], [image(([[0, 0, np.nan, 1]], [0]), ([[0, 0, 1, 1]], [0], [np.nan]))]):
        table = pair_table(images, 2)
        assert table.match(0.5).shape == (0,)
        assert table.num_truth.tolist() == [0, 0]


def test_a_label_that_is_no_class():
    images = [image(([], [])), image(([], []), ([[0, 0, 1, 1]], [4], [1]))]
    with pytest.raises(ValueError, match='image 1 has a detection of label 4, but there are 4 classes'):
        pair_table(images, 4)
