"""Self-checks of annotations, on a few images made by hand."""

import pytest

from mmdet_ext.analysis.diagnosis.annotation_checks import AnnotationCounts, check_annotations, count_annotations

CLASSES = ('a', 'b')


def info(*objects, width=100, height=80):
    """An image with objects (label, box) or (label, box, ignored)."""
    instances = [
        {'bbox_label': label, 'bbox': list(box), 'ignore_flag': int(bool(rest))} for label, box, *rest in objects
    ]
    return {'width': width, 'height': height, 'instances': instances}


def checks(**infos):
    counts = {split: count_annotations(images) for split, images in infos.items()}
    return {check.name: check for check in check_annotations(counts, CLASSES)}


GOOD = [info((0, (1, 1, 20, 20)), (1, (1, 1, 20, 20))), info((1, (5, 5, 60, 70))), info()]


def test_counts():
    images = [
        info((0, (1, 1, 20, 20)), (0, (1.2, 1.1, 20.4, 19.9)), (1, (1, 1, 20, 20))),
        info((1, (0, 0, 9, 9), True)),
        info(),
    ]
    assert count_annotations(images) == AnnotationCounts(3, 2, 3, 1, 1, 0, {0: 2, 1: 1})


def test_good_annotations_pass():
    found = checks(train=GOOD, val=GOOD)
    assert {name: check.passed for name, check in found.items()} == dict.fromkeys(found, True)
    assert set(found) == {'labels', 'duplicates', 'box_format', 'ignored', 'empty_images', 'untrained_classes'}


def test_corners_read_as_sizes():
    # Corner (30, 20) and (70, 60), read as x, y, w, h: to (100, 80), and one that leaves the image.
    bad = [info((0, (40, 30, 40 + 90, 30 + 75))), info((0, (50, 20, 50 + 80, 20 + 70)))]
    check = checks(train=GOOD, val=bad)['box_format']
    assert check.passed is False
    assert check.figures == {'train': 0.0, 'val': 1.0}
    assert '100 % of the boxes of val leave their image' in check.sentence


def test_boxes_outside_that_are_no_corners_either():
    assert checks(val=[info((0, (60, 10, 130, 50)))])['box_format'].figures == {'val': 1.0}
    assert checks(val=[info((0, (-5, 90, 60, 130)))])['box_format'].figures == {'val': 0.0}
    assert checks(val=[info((0, (60, 10, 130, 50)), width=None)])['box_format'].figures == {'val': 0.0}


def test_repeated_objects():
    check = checks(train=[info(*[(0, (1, 1, 20, 20))] * 2)])['duplicates']
    assert (check.passed, check.figures) == (False, {'train': 0.5})


def test_ignored_objects():
    check = checks(val=[info((0, (1, 1, 9, 9)), (0, (20, 20, 40, 40), True))])['ignored']
    assert (check.passed, check.figures) == (False, {'val': 0.5})


def test_empty_images_of_training_only():
    assert checks(train=[info()] * 9 + GOOD[:1])['empty_images'].passed is False
    assert checks(train=GOOD, val=[info()])['empty_images'].passed is True
    assert checks(val=[info()])['empty_images'].passed is None


@pytest.mark.parametrize('label', [-1, 2])
def test_labels_out_of_range(label):
    check = checks(val=[info((label, (1, 1, 9, 9)))])['labels']
    assert check.passed is False
    assert 'can be 0 to 1' in check.sentence


def test_no_labels_at_all():
    assert checks(val=[info()])['labels'].passed is None


def test_classes_that_training_lacks():
    check = checks(train=[info((0, (1, 1, 9, 9)))], val=GOOD)['untrained_classes']
    assert (check.passed, check.figures) == (False, {'b': 2.0})
    assert "'b' (2 objects)" in check.sentence
    assert checks(val=GOOD)['untrained_classes'].passed is None


def test_no_images():
    assert checks(train=[], val=[])['duplicates'].passed is True
