"""Names that are wrong in a regular way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.analysis.diagnosis.name_exchange import find_exchange

GOOD = np.diag([30, 20, 10, 40]) + np.eye(4, k=1, dtype=int) * 2


def test_right_names():
    found = find_exchange(GOOD)
    assert (found.now, found.then) == (100 / 106, 100 / 106)
    assert found.classes.tolist() == [0, 1, 2, 3]
    assert found.offset == 0


@pytest.mark.parametrize(('shift', 'offset'), [(1, -1), (-1, 1), (2, 2)])
def test_labels_are_shifted(shift, offset):
    """An object of class c is named c + shift, so a name stands for the class `shift` places before it."""
    found = find_exchange(np.roll(GOOD, shift, axis=1))
    assert found.offset == offset
    assert found.classes.tolist() == [(name - shift) % 4 for name in range(4)]
    assert found.now < 0.06
    assert found.then == 100 / 106


def test_two_names_are_exchanged():
    found = find_exchange(GOOD[:, [0, 2, 1, 3]])
    assert found.classes.tolist() == [0, 2, 1, 3]
    assert found.offset is None
    assert found.now == pytest.approx(72 / 106)  # 30 + 40, and 2 that were wrong before


@given(st.permutations(range(6)), st.integers(0, 10**6))
def test_any_permutation_is_found(order, seed):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (6, 6)) + np.diag(rng.integers(50, 90, 6))
    found = find_exchange(counts[:, order])
    assert found.classes.tolist() == list(order)
    assert found.then == pytest.approx(np.trace(counts) / counts.sum())


def test_names_never_given_stand_for_themselves():
    counts = np.zeros((4, 4), int)
    counts[0, 0] = 5
    assert find_exchange(counts).classes.tolist() == [0, 1, 2, 3]
    counts[:2, :2] = [[0, 7], [7, 0]]
    assert find_exchange(counts).classes.tolist() == [1, 0, 2, 3]


def test_a_class_that_is_always_another_one():
    """No exchange helps: all objects are called 0."""
    counts = np.zeros((3, 3), int)
    counts[:, 0] = [9, 8, 8]
    found = find_exchange(counts)
    assert (found.offset, found.now, found.then) == (0, 9 / 25, 9 / 25)


def test_nothing_is_found():
    for number in (0, 3):
        found = find_exchange(np.zeros((number, number), int))
        assert np.isnan([found.now, found.then]).all()
        assert found.classes.tolist() == list(range(number))
        assert found.offset == 0


@pytest.mark.parametrize('shape', [(3, 4), (4,)])
def test_not_square(shape):
    with pytest.raises(ValueError, match=r'counts must be \(C, C\)'):
        find_exchange(np.zeros(shape, int))
