"""A problem and the words it is made of."""

import pytest

from mmdet_ext.datasets.problems import Problem, listing, nearest, severity_of


def test_a_problem_reads_as_a_sentence_and_compares_by_value():
    problem = Problem('error', 'file.json', 'is empty')
    assert str(problem) == 'file.json: is empty'
    assert problem == Problem('error', 'file.json', 'is empty')
    assert len({problem, Problem('error', 'file.json', 'is empty'), Problem('warning', 'file.json', 'is empty')}) == 2


@pytest.mark.parametrize(
    ('name', 'known', 'text'),
    [('nodul', ['mass', 'nodule'], " (nearest: 'nodule')"), ('zzz', ['mass', 'nodule'], ''), ('a', [], '')],
)
def test_nearest(name, known, text):
    assert nearest(name, known) == text


@pytest.mark.parametrize(
    ('values', 'limit', 'text'),
    [
        ([], 5, ''),
        ([4, 'x'], 5, "4, 'x'"),
        (range(5), 5, '0, 1, 2, 3, 4'),
        (range(6), 5, '0, 1, 2, 3, 4 and 1 more'),
        ([1, 2, 3], 1, '1 and 2 more'),
    ],
)
def test_listing(values, limit, text):
    assert listing(values, limit) == text


@pytest.mark.parametrize(
    ('count', 'total', 'severity'), [(1, 1000, 'warning'), (1, 999, 'error'), (2, 860_001, 'warning'), (1, 1, 'error')]
)
def test_severity_by_share(count, total, severity):
    assert severity_of(count, total) == severity
