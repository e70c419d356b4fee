"""What mmdet's `MaxIoUAssigner` does wrong and ours must not; a test fails too once mmdet has changed."""

import pytest
import torch
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmengine.structures import InstanceData

from mmdet_ext.models.task_modules.assigners import YOLOAssigner

from .assigner_case import instances

CELLS = [[0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10], [30, 0, 40, 10]]


def both(gts, regions=None, priors=CELLS, thresholds=(0.5, 0.4), **options):
    """gt_inds of mmdet and of ours."""
    ignored = None if regions is None else InstanceData(bboxes=torch.tensor(regions).float())
    options = dict(ignore_iof_thr=0.5, **options)
    return [
        assigner(*thresholds, **options)
        .assign(instances(priors), instances(gts, range(len(gts))), ignored)
        .gt_inds.tolist()
        for assigner in (MaxIoUAssigner, YOLOAssigner)
    ]


def test_a_ground_truth_that_overlaps_nothing_makes_nothing_positive():
    """mmdet#8289; it also takes the prior of the good ground truth."""
    mmdet, ours = both([[0, 0, 10, 10], [900, 900, 910, 910]])
    assert mmdet == [2, 2, 2, 2]
    assert ours == [1, 0, 0, 0]


def test_a_ground_truth_without_size_makes_nothing_positive():
    mmdet, ours = both([[5, 5, 5, 5]])
    assert mmdet == [1, 1, 1, 1]
    assert ours == [0, 0, 0, 0]


def test_regions_to_be_ignored_take_no_prior_away():
    mmdet, ours = both([[0, 0, 10, 9]], regions=[[0, 0, 10, 10]])
    assert mmdet == [-1, 1, 1, 1]
    assert ours == [1, 0, 0, 0]


@pytest.mark.parametrize('swap', [False, True])
def test_two_ground_truths_with_one_best_prior(swap):
    gts = [[0, 0, 10, 9], [2, 0, 12, 10]]
    mmdet, ours = both(gts[::-1] if swap else gts, thresholds=(1.1, 0.1))
    # The later one takes it, whichever it is, and the other gets nothing.
    assert mmdet[0] == 2
    assert 1 not in mmdet
    assert ours[:2] == ([2, 1] if swap else [1, 2])


def test_an_integer_threshold_gives_negatives():
    mmdet, ours = both([[0, 0, 10, 9]], thresholds=(1.1, 1))
    assert mmdet == [1, -1, -1, -1]
    assert ours == [1, 0, 0, 0]


def test_one_best_prior_of_equal_ones():
    mmdet, ours = both([[0, 0, 10, 3]], priors=[CELLS[0]] * 3)
    assert mmdet == [1, 1, 1]
    assert ours == [1, 0, 0]


def test_only_regions_are_no_background():
    """mmdet looks at regions only where there are ground truths."""
    mmdet, ours = both([], regions=[[0, 0, 20, 10]])
    assert mmdet == [0, 0, 0, 0]
    assert ours == [-1, -1, 0, 0]


def test_bad_boxes_are_not_assigned():
    """mmdet makes something of NaN."""
    gts = instances([[0, 0, float('nan'), 10]], [0])
    assert MaxIoUAssigner(0.5, 0.4).assign(instances(CELLS), gts).num_gts == 1
    with pytest.raises(ValueError, match='ground truth 0 is'):
        YOLOAssigner().assign(instances(CELLS), gts)
