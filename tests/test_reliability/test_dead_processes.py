"""Other processes die."""

from pathlib import Path

import pytest

from mmdet_ext.reliability.dead_processes import dead_rank, dead_worker
from tests.test_reliability.shared import trainings

pytestmark = pytest.mark.xdist_group('reliability')


def test_a_worker():
    result = dead_worker(trainings())
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (1, 0, 1, 1)
    assert 'lower num_workers' in result.sentence


def test_without_the_launcher(tmp_path):
    assert dead_rank(trainings(), tmp_path).skipped == 'needs tools/dist_train.sh of the repository'


@pytest.mark.slow
def test_a_rank():
    result = dead_rank(trainings(), Path(__file__).parents[2])
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (1, 0, 1, 1)
    assert 'SIGKILL' in result.sentence
