"""Faults of boxes, each in closed form."""

import numpy as np
import pytest

from mmdet_ext.datasets.box_checks import check_boxes, is_number, number_rows

GOOD = (1.0, 2.0, 11.0, 7.0)


def judge(boxes, area=1.0, size=(40, 30)):
    xyxy = np.array(boxes, dtype=float)
    limits = np.broadcast_to(np.array(size, dtype=float), (len(boxes), 2))
    areas = np.full(len(boxes), area)
    ids = list(range(len(boxes)))
    return check_boxes(xyxy[:, :2], xyxy[:, 2:], limits, ids, 'file', 'ids', 'mend them', areas)


@pytest.mark.parametrize(
    'box', [GOOD, (0, 0, 40, 30), (-1, -1, 41, 31)], ids=['inside', 'the whole image', 'a pixel beyond']
)
def test_good(box):
    assert judge([box]) == []


@pytest.mark.parametrize(
    ('box', 'words', 'severity'),
    [
        ((np.nan, 0, 5, 5), 'not four finite numbers', 'error'),
        ((0, 0, np.inf, 5), 'not four finite numbers', 'error'),
        ((5, 0, 4, 5), 'negative width or height', 'error'),
        ((5, 0, 5, 5), 'zero width or height', 'error'),
        ((40, 0, 45, 5), 'outside their image', 'error'),
        ((-5, 0, 0, 5), 'outside their image', 'error'),
        ((-1.5, 0, 5, 5), 'more than a pixel beyond', 'error'),
        ((0, 0, 5, 31.5), 'more than a pixel beyond', 'error'),
        ((1, 1, 1.5, 5), 'thinner than a pixel', 'warning'),
    ],
)
def test_one_fault(box, words, severity):
    (problem,) = judge([GOOD, box])
    assert problem.severity == severity
    assert problem.where == 'file'
    assert problem.message.startswith('1 of 2 boxes ')
    assert words in problem.message
    assert problem.message.endswith('(first ids 1); mend them')


@pytest.mark.parametrize('area', [0.0, -1.0, np.nan])
def test_area(area):
    (problem,) = judge([GOOD], area)
    assert 'have an `area` that is no positive number' in problem.message


def test_a_box_is_judged_by_its_first_fault_only():
    assert len(judge([(5, 0, 5, 5)], area=0)) == 1
    assert len(judge([(np.nan, 50, 3, 40)], area=0)) == 1


def test_rare_faults_are_warnings():
    (problem,) = judge([(5, 0, 5, 5), *[GOOD] * 999])
    assert problem.severity == 'warning'
    (problem,) = judge([(5, 0, 5, 5), *[GOOD] * 998])
    assert problem.severity == 'error'
    (problem,) = judge([(5, 0, 4, 5), *[GOOD] * 999])
    assert problem.severity == 'error'


def test_unknown_size_limits_nothing():
    assert judge([(1000, 1000, 2000, 2000)], size=(np.nan, np.nan)) == []


def test_number_rows():
    np.testing.assert_array_equal(number_rows([[1, 2], [3, 4.5]], 2), [[1, 2], [3, 4.5]])
    rows = [[1, 2], [1], None, ['1', 2], [True, 2], [10**400, 2], [3, 4]]
    nan = [np.nan, np.nan]
    np.testing.assert_array_equal(number_rows(rows, 2), [[1, 2], nan, nan, nan, nan, nan, [3, 4]])
    assert number_rows([], 4).shape == (0, 4)


@pytest.mark.parametrize(
    ('value', 'expected'),
    [(1, True), (-1.5, True), (float('nan'), True), (True, False), ('1', False), (None, False), (10**400, False)],
)
def test_is_number(value, expected):
    assert is_number(value) is expected
