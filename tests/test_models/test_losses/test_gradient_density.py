"""Counts, moving average, levels and stored state of the gradient density."""

import copy
import io
import warnings

import pytest
import torch
from mmdet.models.losses import GHMC
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import load_state_dict
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.losses import GHMCLoss, GHMRLoss
from mmdet_ext.models.losses import gradient_density as module
from mmdet_ext.models.losses.gradient_density import bin_index, count_index

from .ghm_case import make_scores, one_hot, slow_ghm_c


class TestBins:
    def test_last_bin_is_closed_and_others_open_on_the_right(self):
        g = torch.tensor([0.0, 0.2499, 0.25, 0.5, 0.75, 1.0, 1.0001])
        assert bin_index(g, 4).tolist() == [0, 0, 1, 2, 3, 3, 3]

    def test_nan_has_some_valid_bin(self):
        assert 0 <= bin_index(torch.tensor([float('nan')]), 4).item() <= 3

    @pytest.mark.parametrize('bins', [1, 7, 10, 30])
    def test_equals_edges(self, bins):
        g = torch.rand(20_000, dtype=torch.float64)
        edges = torch.arange(1, bins, dtype=torch.float64) / bins
        assert_close(bin_index(g.clone(), bins), torch.bucketize(g, edges, right=True).int())


class TestCounts:
    @pytest.mark.parametrize('shape', [(0,), (1000,), (30, 50)])
    def test_counts_on_any_device(self, shape, device):
        index = torch.randint(0, 7, shape, dtype=torch.int32, device=device)
        counts = count_index(index, 9)
        assert counts.dtype == torch.int64
        assert counts.tolist() == [int((index == k).sum()) for k in range(9)]

    @pytest.mark.parametrize('shape', [(0,), (1000,), (30, 50)])
    def test_the_way_of_devices_counts_the_same(self, shape):
        index = torch.randint(0, 7, shape, dtype=torch.int32)
        assert_close(module.scatter_counts(index.flatten(), 9), count_index(index, 9))

    def test_more_than_float32_can_count(self):
        loss = GHMRLoss()
        counts = torch.tensor([2**24 + 1] + [0] * 8 + [1])
        beta = loss.weigh(counts, 'sum', torch.float64)
        assert beta[0].item() == (2**24 + 2) / (2**24 + 1) / 2


def average(history, momentum):
    """The mean of what was counted, each call weighing `momentum` times the next one."""
    ages = torch.arange(len(history) - 1, -1, -1, dtype=torch.float64)
    weights = momentum**ages
    return (weights[:, None] * torch.stack(history)).sum(0) / weights.sum()


def counts_of(pred, labels, weight, bins):
    g = (pred.sigmoid() - one_hot(labels, pred.shape[1])).abs()[weight > 0]
    return torch.bincount((g * bins).long().flatten(), minlength=bins).double()


class TestMovingAverage:
    @pytest.mark.parametrize('momentum', [0.3, 0.75, 0.999])
    def test_is_the_weighted_mean_of_all_calls(self, momentum):
        loss, history = GHMCLoss(10, momentum), []
        for step in range(6):
            # Only easy entries at first: bins that were empty so far fill later.
            pred, labels, weight = make_scores(seed=step)
            pred = pred.detach() - 12 * (step < 3)
            labels = labels.clamp(min=4 * (step < 3))
            history.append(counts_of(pred, labels, weight, 10))
            dense = weight[:, None].expand_as(pred)
            expected = slow_ghm_c(pred, one_hot(labels, 4), 10, dense, density=average(history, momentum).tolist())
            assert_close(loss(pred, labels, weight), expected, rtol=1e-5, atol=0)
        assert loss.num_updates.tolist() == [6]
        assert history[0][5:].sum() == 0
        assert history[5].min() > 0

    def test_the_first_call_and_equal_calls_are_as_without(self):
        batch = make_scores()
        loss, plain = GHMCLoss(10, 0.9), GHMCLoss(10)
        for _ in range(4):
            assert_close(loss(*batch), plain(*batch), rtol=1e-6, atol=0)

    def test_a_bin_that_fills_weighs_at_most_its_inverse_share(self):
        loss = GHMCLoss(2, 0.75)
        easy, hard = torch.full((8, 1), -4.0), torch.full((8, 1), 4.0)
        for _ in range(50):
            loss(easy, torch.ones(8, dtype=torch.long))
        value = loss(hard, torch.ones(8, dtype=torch.long), reduction_override='none')
        assert_close(value, 4 * nn.functional.softplus(hard), rtol=1e-5, atol=0)

    def test_calls_without_entries_are_not_averaged(self):
        pred, labels, weight = make_scores()
        loss, unbroken = GHMCLoss(10, 0.75), GHMCLoss(10, 0.75)
        for _ in range(2):
            unbroken(pred, labels, weight)
            loss(pred, labels, weight)
            loss(pred, labels, weight * 0)
            loss(pred[:0], labels[:0], weight[:0])
        assert_close(loss.state_dict(), unbroken.state_dict())

    def test_evaluation_reads_only(self):
        batch, other = make_scores(), make_scores(seed=1)
        loss = GHMCLoss(10, 0.75)
        loss(*batch)
        before = copy.deepcopy(loss.state_dict())
        loss.eval()
        value = loss(*other)
        assert_close(loss.state_dict(), before)
        assert_close(loss.train()(*other), value)
        with pytest.raises(AssertionError):
            assert_close(loss.state_dict(), before)

    def test_stays_float32(self):
        for cast in (lambda x: x.half(), lambda x: x.bfloat16(), lambda x: x.double(), lambda x: x.to('cpu')):
            loss = GHMCLoss(1, 0.5)
            loss(torch.zeros(70_001, 1), torch.zeros(70_001, 1))
            loss = cast(nn.Sequential(loss))[0]
            assert loss.acc_sum.dtype == torch.float32
            assert loss.acc_sum.item() == 35_000.5
            assert 'acc_sum' in dict(loss.named_buffers())
        with torch.device('meta'):
            loss = GHMCLoss(4)
        assert loss.to_empty(device='cpu').acc_sum.device.type == 'cpu'


class TestLevels:
    def test_each_level_has_its_own_average(self):
        loss = GHMCLoss(10, 0.75, scope='level', num_levels=2)
        single = [GHMCLoss(10, 0.75), GHMCLoss(10, 0.75)]
        for step in range(3):
            for level in range(2):
                batch = make_scores(300 >> level, seed=2 * step + level)
                assert_close(loss(*batch), single[level](*batch))
        assert_close(loss.acc_sum, torch.cat([one.acc_sum for one in single]))
        assert loss.num_updates.tolist() == [3, 3]

    def test_a_step_can_be_begun_anew(self):
        loss = GHMCLoss(10, 0.75, scope='level', num_levels=2)
        loss(*make_scores())
        loss.calls = 0
        loss(*make_scores())
        assert loss.num_updates.tolist() == [2, 0]

    def test_without_momentum_there_is_nothing_to_number(self):
        loss = GHMCLoss(10, scope='level')
        for seed in range(7):
            batch = make_scores(seed=seed)
            assert_close(loss(*batch), GHMCLoss(10)(*batch))
        assert loss.calls == 0


class TestClassAware:
    def test_shape_follows_the_first_call(self):
        loss = GHMCLoss(10, 0.75, class_aware=True)
        before = loss.acc_sum
        loss(*make_scores(columns=4))
        assert loss.acc_sum is before
        assert loss.acc_sum.shape == (1, 4, 10)
        with pytest.warns(UserWarning, match=r'GHMCLoss: scores have 3 columns, the moving average is of 4 classes'):
            value = loss(*make_scores(columns=3))
        assert_close(value, GHMCLoss(10, class_aware=True)(*make_scores(columns=3)))

    def test_given_number_of_classes(self):
        assert GHMCLoss(10, class_aware=True, num_classes=4).acc_sum.shape == (1, 4, 10)
        loss = GHMCLoss(10, 0.5, class_aware=True, num_classes=4, use_sigmoid=False)
        assert loss.acc_sum.shape == (1, 5, 10)
        with pytest.raises(ValueError, match='num_classes was set for scores of 5 columns, got 4'):
            loss(torch.zeros(2, 4), torch.zeros(2, dtype=torch.long))

    def test_an_average_of_the_model_made_before_the_first_step(self):
        model = nn.Sequential(GHMCLoss(10, 0.5, class_aware=True, num_classes=4))
        averaged = ExponentialMovingAverage(model)
        model[0](*make_scores())
        averaged.update_parameters(model)
        assert_close(averaged.module[0].acc_sum, model[0].acc_sum)


def used(**options):
    loss = GHMCLoss(**{'bins': 10, 'momentum': 0.75} | options)
    loss(*make_scores())
    return loss


LOADERS = {
    'torch': lambda model, state: model.load_state_dict(state),
    'assign': lambda model, state: model.load_state_dict(state, assign=True),
    'mmengine': lambda model, state: load_state_dict(model, state, strict=True),
}


@pytest.mark.parametrize('load', LOADERS.values(), ids=LOADERS)
class TestCheckpoints:
    def test_round_trip(self, load):
        for options in ({}, dict(momentum=0.0), dict(class_aware=True), dict(scope='level', num_levels=3)):
            loss = used(**options)
            stored = io.BytesIO()
            torch.save(nn.Sequential(loss).state_dict(), stored)
            stored.seek(0)
            new = nn.Sequential(GHMCLoss(**{'bins': 10, 'momentum': 0.75} | options))
            with warnings.catch_warnings():
                warnings.simplefilter('error')
                load(new, torch.load(stored, weights_only=True))
            new[0].calls = loss.calls
            batch = make_scores(seed=5)
            assert_close(new[0](*batch), loss(*batch))

    def test_same_keys_with_and_without_momentum(self, load):
        plain = GHMCLoss(10)
        assert plain.state_dict().keys() == used().state_dict().keys() == {'acc_sum', 'num_updates'}
        load(plain, used().state_dict())
        assert_close(plain.acc_sum, used().acc_sum)

    def test_none_stored(self, load):
        model = nn.Sequential(used())
        before = copy.deepcopy(model.state_dict())
        load(model, {})
        assert_close(model.state_dict(), before)

    @pytest.mark.parametrize(
        'options',
        [dict(bins=30), dict(scope='level', num_levels=2), dict(class_aware=True, num_classes=3)],
        ids=['bins', 'levels', 'classes'],
    )
    def test_other_shapes_start_anew(self, load, options):
        model = nn.Sequential(used(**options) if 'num_classes' not in options else GHMCLoss(10, 0.75, **options))
        with pytest.warns(UserWarning, match='it starts anew') as caught:
            load(model, nn.Sequential(used()).state_dict())
        assert len(caught) == 1
        assert 'moving average 0.acc_sum of the checkpoint, of shape (1, 1, 10), does not fit' in str(caught[0].message)
        assert not model[0].acc_sum.any()
        assert model[0].num_updates.sum() == 0

    def test_that_of_mmdet_starts_anew(self, load):
        theirs = GHMC(10, 0.75, use_sigmoid=True)
        theirs(*make_scores(dtype=torch.float32))
        model = nn.Sequential(used())
        with pytest.warns(UserWarning, match=r'of shape \(10,\), does not fit 1 level\(s\) and 10 bins; it starts'):
            load(model, nn.Sequential(theirs).state_dict())
        assert not model[0].acc_sum.any()


def test_other_keys_are_still_unexpected():
    with pytest.raises(RuntimeError, match='Unexpected key'):
        GHMCLoss(10).load_state_dict({'typo': torch.zeros(1)})
