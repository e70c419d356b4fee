"""The moment between forward and backward: who is asked, and what is left behind."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper

from mmdet_ext.engine import loss_guard
from mmdet_ext.engine.loss_guard import LossGuard, bad_ranks, loss_values, tell_losses
from tests.test_engine.monitor_case import Toy, batch, same, untouched, weights


class Asked:
    def __init__(self, model, error=None):
        self.calls, self.model, self.error = [], model, error
        self.before = weights(model)

    def __call__(self, record, log_vars, ranks):
        parameters = {name: value.clone() for name, value in self.model.named_parameters()}
        self.calls.append((record, dict(log_vars), ranks, same(parameters, {k: self.before[k] for k in parameters})))
        if self.error is not None:
            raise self.error


def train_step(model, data):
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    return model.train_step(data, wrapper)


def test_it_is_asked_before_the_update_and_a_raise_prevents_it():
    model = Toy()
    asked = Asked(model, FloatingPointError('no'))
    guard = LossGuard(model, asked)
    guard.arm()
    with pytest.raises(FloatingPointError, match='no'):
        train_step(model, batch(1))
    (record, log_vars, ranks, unchanged) = asked.calls[0]
    assert log_vars['loss'].isnan()
    assert (ranks, unchanged, guard.looked) == ([0], True, True)
    assert record.samples[1].img_path == 'folder/1.png'
    assert record.state.numbers['']['calls'] == 0
    assert all(value.grad is None for value in model.parameters())
    assert untouched(model)


def test_a_finite_loss_asks_nobody_and_trains_the_same():
    states = []
    for watched in (True, False):
        torch.manual_seed(3)
        model = Toy()
        asked = Asked(model)
        guard = LossGuard(model, asked)
        for _ in range(2):
            if watched:
                guard.arm()
            train_step(model, batch())
            assert untouched(model)
        assert asked.calls == []
        assert guard.looked is watched
        states.append(weights(model))
    assert same(*states)


def test_disarmed_and_armed_twice():
    model = Toy()
    guard = LossGuard(model, Asked(model))
    guard.arm()
    guard.arm()
    assert not untouched(model)
    guard.disarm()
    assert untouched(model)


def test_a_method_of_the_instance_comes_back():
    model = Toy()
    own = model.parse_losses
    model.parse_losses = lambda losses: own({'loss_all': losses['loss_a'] * math.inf})
    mine = model.parse_losses
    asked = Asked(model)
    guard = LossGuard(model, asked)
    guard.arm()
    train_step(model, batch())
    assert model.parse_losses is mine
    assert asked.calls[0][1].keys() == {'loss', 'loss_all'}


def test_compiled_models_and_others_are_left_alone():
    model = Toy()
    model.train_step = torch.compile(model.train_step, backend='eager')
    guard = LossGuard(model, Asked(model))
    guard.arm()
    assert untouched(model)
    assert not guard.looked
    LossGuard(torch.nn.Linear(1, 1), Asked(model)).arm()


@pytest.mark.parametrize(
    ('total', 'bad'), [(1.0, []), (math.nan, [0]), (-math.inf, [0]), (0, []), (torch.tensor([1.0, math.nan]), [0])]
)
def test_bad_ranks_of_one(total, bad):
    assert bad_ranks(total) == bad


def test_bad_ranks_of_several(monkeypatch):
    monkeypatch.setattr(loss_guard, 'get_world_size', lambda: 3)
    monkeypatch.setattr(loss_guard, 'get_rank', lambda: 1)
    reduced = []
    monkeypatch.setattr(loss_guard, 'all_reduce', lambda flags: reduced.append(flags.tolist()) or flags[2].fill_(1))
    assert bad_ranks(torch.tensor(math.nan)) == [1, 2]
    assert bad_ranks(torch.tensor(1.0)) == [2]
    assert reduced == [[0, 1, 0], [0, 0, 0]]


def test_words():
    values = loss_values({'acc': torch.tensor(9.0), 'loss_a': torch.tensor(0.5), 'loss_b': math.nan, 'loss': math.nan})
    assert tell_losses(values) == 'loss_b is nan (loss_a 0.5)'
    assert tell_losses({'loss': math.inf, 'loss_a': 3e38, 'loss_b': 3e38}) == (
        'loss is inf though each of its terms is finite (loss_a 3e+38, loss_b 3e+38)'
    )
    assert tell_losses({'loss': math.nan}) == 'loss is nan'
