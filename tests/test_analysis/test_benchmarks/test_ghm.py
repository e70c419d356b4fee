"""The two sides of the GHM benchmark on few logits."""

import pytest
import torch

from mmdet_ext.analysis.benchmarks.benchmark import CASES
from mmdet_ext.analysis.benchmarks.ghm import GHMCase, Outcome


def test_both_sides_agree_and_a_difference_is_seen():
    case = GHMCase(300, 5, 'ghm-small', 1.0)
    assert case.title == 'ghm-small, 300 x 5 logits, 30 bins'
    ours, sibling = (run() for run in case.prepare(torch.device('cpu'), 0))
    case.check(ours, sibling)
    assert ours.grad.shape == (300, 5)
    with pytest.raises(ValueError, match=r"ghm-small: loss differs from mmdet's by 1.0e\+00"):
        case.check(Outcome(ours.loss * 2, ours.grad), sibling)
    with pytest.raises(ValueError, match=r"ghm-small: grad differs from mmdet's by "):
        case.check(Outcome(ours.loss, ours.grad * 0), sibling)


def test_sizes_and_targets():
    cases = [case for name, case in CASES.items() if name.startswith('ghm-c')]
    assert [(case.name, case.rows * case.columns, case.speed, case.threads) for case in cases] == [
        ('ghm-c', 1_600_000, 10.0, 1),
        ('ghm-c-rcnn', 81_920, 1.0, 1),
        ('ghm-c-rpn', 268_569, 1.0, 1),
    ]
