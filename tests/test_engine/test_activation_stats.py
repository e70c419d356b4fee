"""Moments of outputs and gradients, against plain formulas and a net with known activations."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmdet_ext.engine.activation_stats import (
    ActivationRecorder,
    ModuleStats,
    Moments,
    first_nonfinite,
    measure,
    merge,
    summarize,
)
from mmdet_ext.engine.module_outputs import choose_modules


def moments(*tensors, scale=1.0):
    return merge([(tensor.numel(), measure(tensor).tolist()) for tensor in tensors], scale)


def test_known_values():
    found = moments(torch.tensor([[0.0, 0.0, 3.0], [-5.0, math.nan, math.inf]]))
    # Of 0, 0, 3, -5: mean -0.5, squared distances 0.25, 0.25, 12.25, 20.25.
    assert found == Moments(6, 2, 2, 5.0, pytest.approx(-0.5), pytest.approx(math.sqrt(33 / 4)))
    assert found.zero_share == pytest.approx(2 / 6)
    assert found.nonfinite_share == pytest.approx(2 / 6)
    assert found.rms == pytest.approx(math.sqrt((9 + 25) / 4))


@settings(deadline=None, max_examples=50)
@given(
    parts=st.lists(
        st.lists(st.floats(-1e3, 1e3, width=32) | st.just(math.nan) | st.just(0.0), min_size=1, max_size=8), min_size=1
    )
)
def test_merged_parts_equal_the_whole(parts):
    found = moments(*(torch.tensor(part) for part in parts))
    values = np.array([value for part in parts for value in part], dtype=np.float64)
    finite = values[np.isfinite(values)]
    assert found.count == len(values)
    assert found.nonfinite == len(values) - len(finite)
    assert found.zeros == (values == 0).sum()
    if len(finite):
        assert found.abs_max == pytest.approx(np.abs(finite).max(), rel=1e-6)
        assert found.mean == pytest.approx(finite.mean(), rel=1e-4, abs=1e-3)
        assert found.std == pytest.approx(finite.std(), rel=1e-4, abs=1e-3)
    else:
        assert math.isnan(found.mean)
        assert math.isnan(found.std)
        assert found.abs_max == 0


def test_nothing_finite_and_nothing_at_all():
    assert moments(torch.full((3,), math.nan)).nonfinite_share == 1
    assert merge([]).count == merge([]).zero_share == 0
    assert math.isnan(merge([]).rms)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_large_values_do_not_overflow(dtype):
    large = torch.finfo(dtype).max / 4 if dtype != torch.float64 else 1e150
    found = moments(torch.tensor([large, -large], dtype=dtype))
    assert found.std == pytest.approx(large, rel=1e-2)
    assert found.mean == 0


def test_a_small_spread_around_a_large_mean():
    found = moments(torch.tensor([1000.0, 1001.0, 999.0, 1000.0]))
    assert found.std == pytest.approx(math.sqrt(0.5), rel=1e-3)


def test_a_scale_is_taken_out():
    plain, scaled = moments(torch.tensor([1.0, -3.0])), moments(torch.tensor([8.0, -24.0]), scale=8.0)
    assert scaled == plain


def test_it_measures_on_the_device(device):
    assert measure(torch.ones(3, device=device)).device.type == device.type


class Net(nn.Module):
    """x, then 10 x, then 0 for negative ones; the head runs on both."""

    def __init__(self, recompute=None):
        super().__init__()
        self.grow = nn.Linear(1, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(1, 1, bias=False)
        self.recompute = recompute
        nn.init.constant_(self.grow.weight, 10)
        nn.init.constant_(self.head.weight, 2)

    def trunk(self, x):
        return self.act(self.grow(x))

    def forward(self, x):
        x = self.trunk(x) if self.recompute is None else checkpoint(self.trunk, x, use_reentrant=self.recompute)
        return {'levels': [self.head(x), (self.head(x[:1]),)]}


INPUT = torch.tensor([[1.0], [-2.0], [3.0], [-4.0]])


def record(net, gradients=False, grad_scale=1.0, extra=None):
    recorder = ActivationRecorder(net, choose_modules(net), gradients)
    inputs = INPUT.clone().requires_grad_()
    first, (second,) = net(inputs)['levels']
    if extra is not None:
        extra(net)
    (grad_scale * (first.sum() + second.sum())).backward()
    recorder.close()
    assert not [m for m in net.modules() if m._forward_hooks or m._forward_pre_hooks]
    return recorder.read(grad_scale)


def test_a_net_with_known_activations():
    grow, act, head = record(Net())
    assert (grow.name, grow.kind, grow.calls, grow.growth) == ('grow', 'Linear', 1, None)
    # 10, -20, 30, -40 before the activation overwrites them.
    assert grow.output == Moments(4, 0, 0, 40.0, pytest.approx(-5.0), pytest.approx(math.sqrt(725)))
    assert act.output == Moments(4, 0, 2, 30.0, pytest.approx(10.0), pytest.approx(math.sqrt(150)))
    assert act.growth == pytest.approx(math.sqrt(250 / 750))
    # Levels of 20, 0, 60, 0 and of 20.
    assert (head.name, head.calls, head.gradient) == ('head', 2, None)
    assert head.output == Moments(5, 0, 2, 60.0, pytest.approx(20.0), pytest.approx(math.sqrt(480)))


def test_gradients_with_respect_to_outputs():
    grow, act, head = record(Net(), gradients=True, grad_scale=64.0)
    assert head.gradient == Moments(5, 0, 0, 1.0, 1.0, 0.0)
    # Twice from the first level, and twice more for the first value from the second.
    assert act.gradient == Moments(4, 0, 0, 4.0, pytest.approx(2.5), pytest.approx(math.sqrt(0.75)))
    # Of grow's output before it was overwritten: none where the activation was negative.
    assert grow.gradient == Moments(4, 0, 2, 4.0, pytest.approx(1.5), pytest.approx(math.sqrt(2.75)))


@pytest.mark.parametrize('reentrant', [True, False])
def test_a_recomputed_part_counts_once(reentrant):
    plain, recomputed = record(Net(), gradients=True), record(Net(reentrant), gradients=True)
    assert recomputed == plain


def test_calls_outside_of_forward_do_not_count():
    assert [row.calls for row in record(Net(), extra=lambda net: net.trunk(INPUT))] == [1, 1, 2]


def test_the_numbers_of_the_step_stay_the_same():
    with_hooks, plain = Net(), Net()
    record(with_hooks, gradients=True)
    first, (second,) = plain(INPUT.clone().requires_grad_())['levels']
    (first.sum() + second.sum()).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(with_hooks.parameters(), plain.parameters(), strict=True))


def test_under_autocast():
    net = Net()
    recorder = ActivationRecorder(net, choose_modules(net))
    with torch.autocast('cpu', torch.bfloat16):
        net(INPUT)
    recorder.close()
    assert recorder.read()[0].output.abs_max == 40


def row(name, values, growth=None, gradient=None):
    gradient = None if gradient is None else moments(torch.tensor(gradient))
    return ModuleStats(name, 'Conv2d', 1, moments(torch.tensor(values)), growth, gradient)


def test_the_sentence_names_the_extremes():
    stats = [
        row('a', [1.0, -2.0], gradient=[0.5]),
        row('b', [0.0, 5.0], growth=2.5, gradient=[-0.75]),
        row('c', [math.inf, 1.0], growth=0.1),
    ]
    assert summarize(stats) == (
        '3 modules; largest output 5 in b; fastest growth x2.5 at b; most zeros 50 % in b; largest gradient 0.75 in b; '
        'first output that is not finite: c (Conv2d), 50 % of its values'
    )
    assert first_nonfinite(stats).name == 'c'
    assert first_nonfinite(stats[:2]) is None
    assert summarize([row('a', [2.0])]) == '1 modules; largest output 2 in a; most zeros 0 % in a'
    assert summarize([row('a', [math.nan])]) == '1 modules ran, and none has a finite output'
