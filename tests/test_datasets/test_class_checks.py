"""Class names against categories and heads."""

import pytest

from mmdet_ext.datasets.class_checks import check_category_names, check_class_list, check_num_classes


def compare(names, classes, boxes=None):
    return check_category_names(names, classes, 'file', '`metainfo`', boxes or {})


@pytest.mark.parametrize('classes', [('a',), ['a', 'b']])
def test_proper_lists(classes):
    assert check_class_list(classes, 'key') == []


@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        ('mass', "write `classes=('mass',)`"),
        ((), 'must be a non-empty tuple'),
        ((1, 2), 'must be a non-empty tuple'),
        (7, 'must be a non-empty tuple'),
        (('a', 'b', 'a'), "more than once: 'a'"),
    ],
)
def test_improper_lists(classes, words):
    (problem,) = check_class_list(classes, 'key')
    assert (problem.severity, problem.where) == ('error', 'key')
    assert words.removeprefix('write ') in problem.message


def test_equal_names():
    assert compare(['a', 'b'], ('a', 'b')) == []


def test_missing_name_cites_the_nearest():
    missing, unused = compare(['nodul', 'mass'], ('nodule', 'mass'), {'nodul': 4})
    assert missing.severity == 'error'
    assert "the categories lack 'nodule' (nearest: 'nodul')" in missing.message
    assert unused.severity == 'warning'
    assert 'mmdet drops their 4 boxes' in unused.message


def test_other_order_says_which_label_is_wrong():
    (problem,) = compare(['a', 'c', 'b'], ('a', 'b', 'c'))
    assert problem.severity == 'error'
    assert "boxes of 'c' would get label 1, which is called 'b' there" in problem.message
    assert "('a', 'c', 'b')" in problem.message


def test_a_subset_keeps_its_order():
    (problem,) = compare(['a', 'x', 'b'], ('a', 'b'), {'x': 7, 'a': 1})
    assert problem.severity == 'warning'
    assert "'x' are not in `metainfo`, so mmdet drops their 7 boxes" in problem.message


def test_long_lists_are_cut():
    missing, unused = compare([f'y{k}' for k in range(8)], [f'x{k}' for k in range(7)])
    assert ' and 2 more' in missing.message
    assert ' and 3 more' in unused.message


def test_num_classes():
    assert check_num_classes([('head', 3)], [3], 'data') == []
    assert check_num_classes([('head', 2)], [3, 2], 'data') == []
    (problem,) = check_num_classes([('a', 3), ('b', 80)], [3], 'data')
    assert (problem.severity, problem.where) == ('error', 'b')
    assert problem.message.startswith('`num_classes` is 80, but the `metainfo` of data has 3 class names')
    assert 'set `num_classes=3`' in problem.message
