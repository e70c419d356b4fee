"""Killed at any point, a run goes on to the same weights."""

import pytest

from mmdet_ext.reliability.kill import kill_anywhere, kill_while_writing
from tests.test_reliability.shared import trainings

pytestmark = pytest.mark.xdist_group('reliability')


def test_nothing_is_lost():
    result = kill_anywhere(trainings(), kills=2, seed=1)
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (2, 0, 2, None)


def test_killed_in_the_middle_of_a_write():
    result = kill_while_writing(trainings(), kills=1)
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed) == (1, 0, 1)


def test_mmengines_hook_does_lose_saves():
    """Else the drill would see nothing: it removes the old checkpoint before the new one is whole."""
    result = kill_while_writing(trainings(), kills=1, stock=True)
    assert (result.trials, result.lost, result.resumed) == (1, 1, 0)
    assert result.faults == []
    assert 'mmengine' in result.name
