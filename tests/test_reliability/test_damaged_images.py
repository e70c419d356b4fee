"""Truncated images stop a run before it trains on them."""

import pytest

from mmdet_ext.reliability.damaged_images import truncated_images
from tests.test_reliability.shared import trainings

pytestmark = [pytest.mark.xdist_group('reliability'), pytest.mark.slow]


def test_truncated_images():
    result = truncated_images(trainings())
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (2, 0, 2, 2)
    assert "'1.png'" in result.sentence
