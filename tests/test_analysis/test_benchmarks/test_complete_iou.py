"""The two sides of the benchmark of the complete IoU loss, on few boxes."""

import pytest
import torch

from mmdet_ext.analysis.benchmarks.benchmark import CASES
from mmdet_ext.analysis.benchmarks.complete_iou import COMPLETE_IOU_CASES, RPN_LEVELS, CompleteIoUCase


def test_both_sides_agree_on_real_losses():
    case = CompleteIoUCase('few', 'boxes', (300, 1, 40), speed=1.0, repeats=1)
    assert case.title == 'few, boxes'
    ours, theirs = (run() for run in case.prepare(torch.device('cpu'), 0))
    case.check(ours, theirs)
    assert [grad.shape for _, grad in ours] == [(300, 4), (1, 4), (40, 4)]
    # Boxes that overlap in part.
    assert 0.2 < ours[0][0] < 0.8
    assert (ours[0][1] != 0).all()


@pytest.mark.parametrize('wrong', [1.001, float('nan')])
def test_a_difference_is_named(wrong):
    case = CompleteIoUCase('few', 'boxes', (50,), speed=1.0, repeats=1)
    ours, theirs = (run() for run in case.prepare(torch.device('cpu'), 0))
    wrong_grad = [(loss, grad * wrong) for loss, grad in ours]
    with pytest.raises(ValueError, match=r'few: 99\.50% of 50 losses and gradients differ from those of mmdet'):
        case.check(wrong_grad, theirs)


def test_names_and_targets():
    assert [(case.name, case.counts, case.speed, case.threads, case.memory) for case in COMPLETE_IOU_CASES] == [
        ('complete-iou', (100_000,), 3.0, 1, None),
        ('complete-iou-rcnn', (512,), 1.0, 1, None),
        ('complete-iou-rpn', RPN_LEVELS, 1.0, 1, None),
    ]
    assert all(CASES[case.name] is case for case in COMPLETE_IOU_CASES)


def test_anchors_of_the_levels():
    assert RPN_LEVELS == (201600, 50400, 12600, 3150, 819)
