"""The two sides of the assigner's benchmark, and what it refuses."""

import pytest
import torch

from mmdet_ext.analysis.benchmarks import benchmark, measure
from mmdet_ext.analysis.benchmarks.yolo_assigner import SIZES, YOLOAssignerCase, make_priors

CPU = torch.device('cpu')


@pytest.fixture
def few(monkeypatch):
    """Some ground truths and two calls in place of many."""
    for name, size in SIZES.items():
        monkeypatch.setitem(SIZES, name, size._replace(gts=6, calls=min(size.calls, 2)))


@pytest.mark.parametrize(
    ('size', 'number'), [('crowd', 200_000), ('rpn', 267_069), ('rcnn', 2000), ('rcnn-best', 1000)]
)
def test_priors(size, number):
    generator = torch.Generator().manual_seed(0)
    gts = torch.tensor([[100.0, 100, 200, 200]])
    priors = make_priors(size, gts, generator)
    assert priors.shape == (number, 4)
    assert (priors[:, 2:] > priors[:, :2]).all()


@pytest.mark.parametrize('size', ['rcnn', 'rcnn-best', 'rpn'])
def test_both_sides_agree(size, few):
    case = YOLOAssignerCase(size)
    ours, sibling = (run() for run in case.prepare(CPU, 0))
    case.check(ours, sibling)
    assert (ours.gt_inds > 0).any()
    assert (ours.num_gts, sibling.num_gts) == (6, 6)


@pytest.fixture
def results(few):
    case = YOLOAssignerCase('rcnn-best')
    return case, *(run() for run in case.prepare(CPU, 0))


def test_other_ious_are_refused(results):
    case, ours, sibling = results
    ours.max_overlaps = ours.max_overlaps + 1e-6
    with pytest.raises(ValueError, match='yolo-assigner-rcnn-best: the IoUs are not those of MaxIoUAssigner'):
        case.check(ours, sibling)


def test_other_assignment_is_refused(results):
    case, ours, sibling = results
    where = (ours.gt_inds == 0).nonzero()[0]
    ours.gt_inds[where] = -1
    with pytest.raises(ValueError, match='1 priors are assigned in another way'):
        case.check(ours, sibling)


def test_too_many_best_priors_are_refused(results):
    case, ours, sibling = results
    ours.gt_inds[ours.gt_inds == 0] = 1
    with pytest.raises(ValueError, match='best priors for 6 ground truths'):
        case.check(ours, sibling)


def test_without_matching_everything_is_equal(few):
    case = YOLOAssignerCase('rcnn')
    ours, sibling = (run() for run in case.prepare(CPU, 0))
    ours.gt_inds[(ours.gt_inds > 0).nonzero()[0]] = 0
    with pytest.raises(ValueError, match='1 priors are assigned in another way'):
        case.check(ours, sibling)


def test_targets():
    case = benchmark.CASES['yolo-assigner']
    assert (case.speed, case.memory, case.threads) == (20, 1 / 8, 1)
    assert case.title == 'yolo-assigner, 200 000 anchors of RetinaNet, 500 ground truths'
    for size in ('rpn', 'rcnn', 'rcnn-best'):
        assert benchmark.CASES[f'yolo-assigner-{size}'].speed == 1
    assert '50 calls' in benchmark.CASES['yolo-assigner-rcnn'].sibling


def test_a_case_that_may_wait_is_not_asked_to_do_without(monkeypatch):
    """On a GPU the matching and the look at the input need the host."""
    modes = []
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', modes.append)
    monkeypatch.setattr(measure, 'time_call', lambda run, device: 1.0)
    case = YOLOAssignerCase('rcnn')
    monkeypatch.setattr(case, 'prepare', lambda device, seed: (lambda: 1, lambda: 1))
    monkeypatch.setattr(case, 'check', lambda ours, sibling: None)
    monkeypatch.setattr(case, 'work', lambda ours: None)
    monkeypatch.setattr(measure, 'measure_rates', lambda device, dtype: None)
    monkeypatch.setattr(measure, '_measure_memory', lambda *args: {})
    measure.measure(case, torch.device('cuda'), 0, repeats=1)
    assert modes == []
