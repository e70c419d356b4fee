"""The assigner: every option by hand, and against a slow one that follows the documentation."""

import doctest
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.assigners import MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmengine.structures import InstanceData
from torch.utils._python_dispatch import TorchDispatchMode

from mmdet_ext.models.task_modules.assigners import YOLOAssigner, prior_blocks, yolo_assigner

from .assigner_case import box_lists, instances, random_boxes, slow_assign

# Four cells of a row.
CELLS = [[0, 0, 10, 10], [10, 0, 20, 10], [20, 0, 30, 10], [30, 0, 40, 10]]


def assign(priors, gts, regions=None, fields=None, **options):
    ignored = None if regions is None else InstanceData(bboxes=torch.as_tensor(regions).float().reshape(-1, 4))
    gts = instances(gts, range(len(gts)))
    return YOLOAssigner(**options).assign(instances(priors, **(fields or {})), gts, ignored)


def gt_inds(*args, **kwargs):
    return assign(*args, **kwargs).gt_inds.tolist()


def counters(result):
    return result.get_extra_property('num_unmatched'), result.get_extra_property('num_conflicts')


class TestByHand:
    def test_result(self):
        gts = instances([[0, 0, 10, 8], [20, 0, 30, 4]], [7, 3])
        result = TASK_UTILS.build(dict(type='YOLOAssigner')).assign(instances(CELLS), gts)
        assert result.num_gts == 2
        assert result.gt_inds.tolist() == [1, 0, 2, 0]
        assert result.labels.tolist() == [7, -1, 3, -1]
        torch.testing.assert_close(result.max_overlaps, torch.tensor([0.8, 0, 0.4, 0]))
        assert result.gt_inds.dtype == result.labels.dtype == torch.int64
        assert counters(result) == (0, 0)
        assert type(result.info['num_unmatched']) is type(result.info['num_conflicts']) is int

    def test_thresholds_are_half_open(self):
        # IoU 1, 0.5, 0.25 and 0 with the ground truth.
        priors = [[0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 4, 4], [50, 50, 60, 60]]
        assert gt_inds(priors, [[0, 0, 8, 8]], pos_iou_thr=0.5, neg_iou_thr=0.25) == [1, 1, -1, 0]
        assert gt_inds(priors, [[0, 0, 8, 8]], pos_iou_thr=0.75, neg_iou_thr=0.5) == [1, -1, 0, 0]
        assert gt_inds(priors, [[0, 0, 8, 8]], pos_iou_thr=0.5, neg_iou_thr=0.5) == [1, 1, 0, 0]

    @pytest.mark.parametrize(
        ('negative', 'wanted'),
        [(1, [1, 0, 0, 0]), (0, [1, -1, -1, -1]), ((0.25, 0.5), [1, -1, 0, -1]), ([0.0, 0.3], [1, -1, 0, 0])],
    )
    def test_negatives_by_number_or_range(self, negative, wanted):
        priors = [[0, 0, 8, 8], [0, 0, 8, 4], [0, 0, 4, 4], [50, 50, 60, 60]]
        assert gt_inds(priors, [[0, 0, 8, 8]], pos_iou_thr=1.1, neg_iou_thr=negative) == wanted

    def test_more_than_one_switches_the_threshold_off(self):
        gt = [[0, 0, 10, 10]]
        assert gt_inds([*gt, *gt, *CELLS], gt, pos_iou_thr=0.9) == [1, 1, 1, 0, 0, 0]
        assert gt_inds([*gt, *gt, *CELLS], gt, pos_iou_thr=1.1) == [1, -1, -1, 0, 0, 0]

    def test_each_ground_truth_has_its_own_prior(self):
        # Both like the first cell best; the second one likes it more.
        gts = [[4, 0, 12, 10], [0, 0, 10, 9]]
        result = assign(CELLS, gts, pos_iou_thr=2)
        assert result.gt_inds.tolist() == [2, 1, 0, 0]
        assert counters(result) == (0, 1)

    def test_ties_by_ground_truth_then_prior(self):
        result = assign([[0, 0, 10, 10]] * 4, [[0, 0, 10, 5]] * 3)
        assert result.gt_inds.tolist() == [1, 2, 3, 1]
        assert counters(result) == (0, 2)

    def test_matching_overrides_positives(self):
        # The first ground truth is above the threshold at both priors; the second one has only one of them.
        priors, gts = [[0, 0, 10, 10], [0, 0, 10, 9]], [[0, 0, 10, 10], [0, 8, 10, 30]]
        assert gt_inds(priors, gts, unique_best=False) == [1, 1]
        assert gt_inds(priors, gts) == [1, 2]

    def test_more_ground_truths_than_priors(self):
        result = assign(CELLS[:1], [[0, 0, 10, 9], [0, 0, 10, 10], [0, 0, 5, 5]])
        assert result.gt_inds.tolist() == [2]
        assert counters(result) == (2, 2)

    def test_a_best_prior_needs_more_than_the_least_iou(self):
        gts = [[0, 0, 5, 10]]
        assert gt_inds(CELLS, gts, pos_iou_thr=0.9, min_best_iou=0.5) == [-1, 0, 0, 0]
        assert gt_inds(CELLS, gts, pos_iou_thr=0.9, min_best_iou=0.49) == [1, 0, 0, 0]

    @pytest.mark.parametrize('gt', [[5, 5, 5, 5], [3, 3, 3, 9], [10, 0, 10, 10], [100, 100, 110, 110]])
    @pytest.mark.parametrize('options', [{}, dict(match='wh'), dict(unique_best=False)])
    def test_without_overlap_nothing_is_positive(self, gt, options):
        result = assign(CELLS, [gt], **options)
        assert result.gt_inds.tolist() == [0] * 4
        assert counters(result) == (1, 0)

    def test_shapes_decide_the_best_prior_only(self):
        # The first prior lies better, the second has the shape; the third has it too but does not touch.
        priors, gts = [[0, 0, 10, 10], [3, 0, 11, 12], [50, 50, 58, 62]], [[0, 0, 8, 12]]
        assert gt_inds(priors, gts, pos_iou_thr=2) == [1, -1, 0]
        result = assign(priors, gts, pos_iou_thr=2, match='wh')
        assert result.gt_inds.tolist() == [-1, 1, 0]
        assert result.max_overlaps.tolist() == pytest.approx([80 / 116, 60 / 132, 0])
        # Thresholds go by the place as well.
        assert gt_inds(priors, gts, pos_iou_thr=0.6, match='wh') == [1, 1, 0]
        assert gt_inds(priors, gts, pos_iou_thr=2, match='wh', min_best_iou=0.5) == [1, -1, 0]

    def test_a_prior_on_each_level(self):
        priors = [[0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 20, 20], [40, 40, 60, 60], [40, 40, 60, 50]]
        levels = dict(level_ids=torch.tensor([3, 3, 0, 7, 7]))
        options = dict(pos_iou_thr=2, neg_iou_thr=0.1)
        assert gt_inds(priors, [[0, 0, 10, 9]], **options) == [1, -1, -1, 0, 0]
        result = assign(priors, [[0, 0, 10, 9], [1, 0, 11, 10]], fields=levels, best_scope='per_level', **options)
        assert result.gt_inds.tolist() == [1, 2, 2, 0, 0]
        # The second ground truth loses the first prior, the first one that of level 0.
        assert counters(result) == (0, 2)
        assert gt_inds(priors, [[0, 0, 10, 9]], fields=levels, best_scope='per_level', unique_best=False) == [
            1, 1, 0, 0, 0,
        ]  # fmt: skip

    def test_regions_change_negatives_only(self):
        gts, region = [[0, 0, 10, 9]], [[0, 0, 16, 10]]
        # Cell 1 is covered by 0.6.
        assert gt_inds(CELLS, gts, region) == [1, -1, 0, 0]
        assert gt_inds(CELLS, gts, region, ignore_iof_thr=0.6) == [1, 0, 0, 0]
        assert gt_inds(CELLS, gts, region, ignore_iof_thr=0) == [1, -1, 0, 0]
        assert gt_inds(CELLS, gts, region, ignore_iof_thr=-1) == [1, 0, 0, 0]
        # A best prior below the threshold stays too.
        assert gt_inds(CELLS, [[0, 0, 10, 2]], [[0, 0, 40, 10]]) == [1, -1, -1, -1]
        assert gt_inds(CELLS, gts, []) == [1, 0, 0, 0]

    def test_regions_by_predictions(self):
        bboxes = torch.tensor([[0.0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 9, 9], [math.nan] * 4])
        options = dict(regions=[[20, 0, 30, 10]], fields=dict(bboxes=bboxes), ignore_from='pred')
        assert gt_inds(CELLS, [[0, 0, 10, 9]], **options) == [1, 0, 0, 0]
        bboxes[1], bboxes[3] = torch.tensor([20, 0, 30, 10]), torch.tensor([30, 10, 20, 0])
        assert gt_inds(CELLS, [[0, 0, 10, 9]], **options) == [1, -1, 0, 0]

    @pytest.mark.parametrize('options', [{}, dict(unique_best=False), dict(neg_iou_thr=(0.1, 0.4))])
    def test_no_ground_truth_is_background(self, options):
        result = assign(CELLS, [], [[20, 0, 30, 10]], **options)
        assert result.gt_inds.tolist() == [0, 0, -1, 0]
        assert result.labels.tolist() == [-1] * 4
        assert result.max_overlaps.tolist() == [0] * 4
        assert (result.num_gts, *counters(result)) == (0, 0, 0)

    @pytest.mark.parametrize('number', [0, 2])
    @pytest.mark.parametrize('options', [{}, dict(unique_best=False), dict(best_scope='per_level')])
    def test_no_priors(self, number, options):
        fields = dict(level_ids=torch.zeros(0, dtype=torch.int64))
        result = assign([], CELLS[:number], CELLS, fields, **options)
        assert result.gt_inds.shape == result.labels.shape == result.max_overlaps.shape == (0,)
        assert result.gt_inds.dtype == torch.int64
        assert (result.num_gts, *counters(result)) == (number, number, 0)


OPTIONS = st.fixed_dictionaries(
    dict(
        pos_iou_thr=st.sampled_from([0.3, 0.5, 1.1]),
        neg_iou_thr=st.sampled_from([0, 0.3, (0.1, 0.3)]),
        unique_best=st.sampled_from([True, True, False]),
        min_best_iou=st.sampled_from([0.0, 0.2]),
        match=st.sampled_from(['iou', 'wh']),
        best_scope=st.sampled_from(['all_levels', 'per_level']),
        ignore_iof_thr=st.sampled_from([0.5, 0.0, -1.0]),
        ignore_from=st.sampled_from(['prior', 'pred']),
    )
)


@settings(deadline=None, max_examples=80)
@given(
    data=st.data(), options=OPTIONS, priors=box_lists(1, 16), gts=box_lists(0, 8), regions=box_lists(0, 3),
    chunk=st.sampled_from([1, 3, 8192]), tile=st.sampled_from([None, 2, 5]),
)  # fmt: skip
def test_equals_a_slow_reference(data, options, priors, gts, regions, chunk, tile):
    levels = torch.tensor(data.draw(st.lists(st.integers(0, 2), min_size=len(priors), max_size=len(priors))))
    predictions = data.draw(box_lists(len(priors), len(priors)))
    fields = dict(level_ids=levels, bboxes=predictions)
    with pytest.MonkeyPatch.context() as patch:
        if tile is not None:
            patch.setattr(prior_blocks, 'MANY_PAIRS', 0)
            patch.setattr(prior_blocks, 'TILE', tile)
        result = assign(priors, gts, regions, fields, chunk_size=chunk, **options)
    wanted, max_overlaps, unmatched, conflicts = slow_assign(priors, gts, regions, levels, predictions, **options)
    assert result.gt_inds.tolist() == wanted
    assert torch.equal(result.max_overlaps, max_overlaps)
    assert result.labels.tolist() == [max(index, 0) - 1 for index in wanted]
    assert counters(result) == (unmatched, conflicts)


def crowd(number=3000, gts=150):
    generator = torch.Generator().manual_seed(0)
    return random_boxes(number, generator), random_boxes(gts, generator, most=60), random_boxes(4, generator)


@pytest.mark.parametrize('options', [{}, dict(match='wh', min_best_iou=0.2), dict(best_scope='per_level')])
def test_chunks_change_nothing(options, monkeypatch):
    priors, gts, regions = crowd()
    fields = dict(level_ids=torch.arange(len(priors)) % 3)
    whole = assign(priors, gts, regions, fields, **options)
    assert whole.info['num_conflicts'] > 3
    for chunk, many in ((7, 2**20), (1000, 2**20), (8192, 0), (100, 0)):
        monkeypatch.setattr(prior_blocks, 'MANY_PAIRS', many)
        other = assign(priors, gts, regions, fields, chunk_size=chunk, **options)
        for name, value in whole.info.items():
            assert torch.equal(torch.as_tensor(other.info[name]), torch.as_tensor(value))


@pytest.mark.parametrize('options', [{}, dict(match='wh'), dict(unique_best=False)])
def test_order_of_ground_truths_and_priors_changes_nothing(options):
    # Random boxes have no ties.
    priors, gts, regions = crowd()
    plain = assign(priors, gts, regions, **options)
    gt_order, prior_order = torch.randperm(len(gts)), torch.randperm(len(priors))
    shuffled = assign(priors[prior_order], gts[gt_order], regions, **options)
    numbers = torch.cat([torch.tensor([0]), gt_order + 1, torch.tensor([-1])])
    assert torch.equal(numbers[shuffled.gt_inds], plain.gt_inds[prior_order])
    assert counters(shuffled) == counters(plain)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32(dtype):
    # A square of 300 has more area than float16 can hold.
    generator = torch.Generator().manual_seed(0)
    priors, gts = (random_boxes(n, generator, 1000, 200, 600).to(dtype) for n in (50, 5))
    result = assign(priors, gts, gts[:1].float())
    assert torch.equal(result.gt_inds, assign(priors.float(), gts.float(), gts[:1].float()).gt_inds)
    assert result.max_overlaps.dtype == torch.float32
    assert result.max_overlaps.max() > 0.3


def test_under_autocast_and_without_gradient():
    priors, gts, _ = crowd(200, 10)
    plain = assign(priors, gts)
    with torch.autocast('cpu', torch.bfloat16):
        result = assign(priors.requires_grad_(), gts)
    assert torch.equal(result.gt_inds, plain.gt_inds)
    assert torch.equal(result.max_overlaps, plain.max_overlaps)
    assert not result.max_overlaps.requires_grad


def test_inputs_are_left_alone():
    priors, gts, regions = crowd(200, 10)
    copies = [x.clone() for x in (priors, gts, regions)]
    assign(priors, gts, regions)
    assert all(torch.equal(a, b) for a, b in zip(copies, (priors, gts, regions), strict=True))


def test_proposals_near_ground_truths_equal_mmdet():
    priors, gts, _ = crowd()
    ours = assign(priors, gts, unique_best=False)
    mmdet = MaxIoUAssigner(0.5, 0.4, match_low_quality=False).assign(instances(priors), instances(gts, range(len(gts))))
    for name in ('gt_inds', 'max_overlaps', 'labels'):
        assert torch.equal(getattr(ours, name), getattr(mmdet, name))


def test_without_conflict_or_tie_the_best_priors_equal_mmdet():
    # Ground truths far from each other, each with priors of its own.
    generator = torch.Generator().manual_seed(0)
    corner = torch.arange(12)[:, None] * 100
    gts = random_boxes(12, generator) + corner
    priors = random_boxes(12 * 30, generator) + corner.repeat(30, 1)
    ours = assign(priors, gts, pos_iou_thr=0.7, neg_iou_thr=0.3)
    assert counters(ours) == (0, 0)
    mmdet = MaxIoUAssigner(0.7, 0.3).assign(instances(priors), instances(gts, range(12)))
    assert (ours.max_overlaps[ours.gt_inds > 0] < 0.7).any()
    for name in ('gt_inds', 'max_overlaps', 'labels'):
        assert torch.equal(getattr(ours, name), getattr(mmdet, name))


class Reads(TorchDispatchMode):
    """Counts operators that would wait for a GPU."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name in ('index', 'index_put', 'index_put_') else []
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if by_mask or name in ('_local_scalar_dense', 'nonzero', 'masked_select', '_unique2', 'equal'):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('options', [{}, dict(best_scope='per_level'), dict(match='wh'), dict(unique_best=False)])
def test_chunks_read_nothing_back(options):
    priors, gts, regions = crowd(200, 30)
    fields = dict(level_ids=torch.arange(200) % 3)
    with Reads() as reads:
        assign(priors, gts, regions, fields, chunk_size=10, **options)
    # The look at bad input; matching and counters go through `.cpu()` and `.tolist()`.
    assert len(reads.found) == 1
    with Reads() as reads:
        bool(torch.ones(3)[torch.tensor([True, False, True])].sum() > 0)
    assert reads.found == ['index', '_local_scalar_dense']


@pytest.mark.gpu
@pytest.mark.parametrize('options', [{}, dict(best_scope='per_level'), dict(match='wh'), dict(unique_best=False)])
def test_gpu_gives_the_same_and_waits_twice(options):
    priors, gts, regions = crowd()
    levels = torch.arange(len(priors)) % 3
    wanted = assign(priors, gts, regions, dict(level_ids=levels), **options)
    pred = instances(priors.cuda(), level_ids=levels.cuda())
    gts, ignored = instances(gts, range(len(gts))).cuda(), InstanceData(bboxes=regions.cuda())
    assigner = YOLOAssigner(**options)
    assigner.assign(pred, gts, ignored)
    torch.cuda.set_sync_debug_mode('warn')
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            result = assigner.assign(pred, gts, ignored)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert len([w for w in caught if 'synchronizing' in str(w.message)]) <= 2
    for name, value in wanted.info.items():
        assert torch.equal(torch.as_tensor(result.info[name]).cpu(), torch.as_tensor(value))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(match='shape'), "match='shape', allowed are .*'iou', 'wh'"),
        (dict(best_scope='level'), "best_scope='level', allowed are .*'per_level'"),
        (dict(ignore_from='gt'), "ignore_from='gt', allowed are .*'prior', 'pred'"),
        (dict(neg_iou_thr=0.6), 'neg_iou_thr=0.6 with pos_iou_thr=0.5, allowed are 0 <= neg_iou_thr <= pos_iou_thr'),
        (dict(neg_iou_thr=1), 'neg_iou_thr=1 with pos_iou_thr=0.5'),
        (dict(neg_iou_thr=-0.1), 'neg_iou_thr=-0.1'),
        (dict(neg_iou_thr=(0.3, 0.1)), r'neg_iou_thr=\(0.3, 0.1\).* 0 <= lo <= hi <= pos_iou_thr'),
        (dict(neg_iou_thr=(0.1, 0.6)), r'neg_iou_thr=\(0.1, 0.6\)'),
        (dict(neg_iou_thr=(0.1, 0.2, 0.3)), r'neg_iou_thr=\(0.1, 0.2, 0.3\), allowed are a number and a pair'),
        (dict(neg_iou_thr=math.nan), 'neg_iou_thr=nan'),
        (dict(pos_iou_thr=0, neg_iou_thr=0), 'neg_iou_thr=0 with pos_iou_thr=0, allowed are .* pos_iou_thr above 0'),
        (dict(min_best_iou=-0.1), 'min_best_iou=-0.1, allowed are 0 <= min_best_iou < 1'),
        (dict(min_best_iou=1), 'min_best_iou=1'),
        (dict(ignore_iof_thr=math.nan), 'ignore_iof_thr=nan, allowed are numbers'),
        (dict(ignore_iof_thr=None), 'ignore_iof_thr=None, allowed are numbers'),
        (dict(neg_iou_thr=None), 'neg_iou_thr=None, allowed are numbers'),
        (dict(pos_iou_thr=(0.5, 0.6)), r'pos_iou_thr=\(0.5, 0.6\), allowed are numbers'),
        (dict(chunk_size=0), 'chunk_size=0, allowed are integers from 1 on'),
        (dict(chunk_size=8.0), 'chunk_size=8.0'),
    ],
)
def test_options_outside_of_what_is_allowed(options, message):
    with pytest.raises(ValueError, match=f'YOLOAssigner: {message}'):
        YOLOAssigner(**options)


@pytest.mark.parametrize('number', [0, 1])
@pytest.mark.parametrize('unique_best', [True, False])
def test_bad_boxes_are_named(number, unique_best):
    with pytest.raises(ValueError, match=r'prior 1 of image a\.png is \[10.0, 0.0, nan, 10.0\]'):
        YOLOAssigner(unique_best=unique_best).assign(
            instances([CELLS[0], [10, 0, math.nan, 10]]),
            instances(CELLS[:number], [0] * number),
            img_meta=dict(img_path='a.png'),
        )


def test_bad_boxes_are_found_after_the_pass_too(monkeypatch):
    """On a GPU the look at the input is put off to the first time that something is read."""
    monkeypatch.setattr(torch.Tensor, 'is_cuda', property(lambda self: True))
    for unique_best in (True, False):
        with pytest.raises(ValueError, match='ground truth 0 is'):
            assign(CELLS, [[10, 0, 0, 10]], unique_best=unique_best)
        assert assign(CELLS, CELLS, unique_best=unique_best).gt_inds.tolist() == [1, 2, 3, 4]
    with pytest.raises(ValueError, match='level_ids go from -3 to 900'):
        assign(CELLS, CELLS, fields=dict(level_ids=torch.tensor([0, -3, 900, 1])), best_scope='per_level')


def test_docstring_example():
    found = doctest.testmod(yolo_assigner)
    assert (found.failed, found.attempted) == (0, 5)
