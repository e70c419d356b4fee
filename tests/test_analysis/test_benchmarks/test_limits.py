"""The least time of a row: closed forms, and rates of this machine that are plausible."""

import pytest
import torch

from mmdet_ext.analysis.benchmarks import limits
from mmdet_ext.analysis.benchmarks.geometry_attention import attention_flops
from mmdet_ext.analysis.benchmarks.limits import Rates, Work, count_flops, least_seconds, measure_rates


def test_the_slower_of_both_counts():
    assert least_seconds(Work(bytes=10, flops=10), Rates(bytes=5, flops=20)) == (2.0, 'bytes')
    assert least_seconds(Work(bytes=10, flops=100), Rates(bytes=5, flops=20)) == (5.0, 'flops')
    assert least_seconds(Work(), Rates(bytes=5, flops=20))[0] == 0


def test_flops_are_those_of_forward_and_backward():
    layer = torch.nn.Linear(8, 16, bias=False)
    x = torch.rand(5, 8, requires_grad=True)
    assert count_flops(lambda: layer(x)) == 2 * 5 * 8 * 16
    assert count_flops(lambda: layer(x).sum().backward()) == 3 * 2 * 5 * 8 * 16


def test_attention_is_counted_as_torch_does():
    number, heads, width = 12, 4, 32
    query, key, value = (torch.rand(heads, number, width // heads, requires_grad=True) for _ in range(3))
    pairs, layer = torch.rand(number, number, 64), torch.nn.Linear(64, heads, bias=False)

    def step():
        scores = query @ key.transpose(1, 2) + layer(pairs).permute(2, 0, 1)
        (scores.softmax(-1) @ value).sum().backward()

    assert count_flops(step) == attention_flops(number, heads, width)


def test_rates_are_those_of_a_machine(monkeypatch):
    monkeypatch.setattr(limits, '_COPY', 1 << 20)
    monkeypatch.setattr(limits, '_SIDE', 128)
    rates = measure_rates(torch.device('cpu'))
    assert 1e7 < rates.bytes < 1e13
    assert 1e7 < rates.flops < 1e14


def test_rates_count_both_ways_of_a_copy(monkeypatch):
    monkeypatch.setattr(limits, '_COPY', 100)
    monkeypatch.setattr(limits, '_SIDE', 10)
    monkeypatch.setattr(limits, '_best_time', lambda run, device: run() is None or 2.0)
    assert measure_rates(torch.device('cpu')) == Rates(bytes=2 * 400 / 2, flops=2 * 1000 / 2)


def test_a_gpu_is_waited_for(monkeypatch):
    log = []
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda device: log.append('wait'))
    monkeypatch.setattr(limits, '_TURNS', 2)
    assert limits._best_time(lambda: log.append('run'), torch.device('cuda')) >= 0
    assert log == ['wait', 'run', 'wait'] * 2


@pytest.mark.parametrize(
    ('case', 'wanted'),
    [
        ('ghm-c', Work(bytes=20_000 * (80 * 8 + 12))),
        ('complete-iou', Work(bytes=4_800_000)),
        ('geometry-attention', Work(flops=1e6 * (12 * 1024 + 4 * 64 * 16))),
    ],
)
def test_rows_name_their_work(case, wanted):
    from mmdet_ext.analysis.benchmarks.benchmark import CASES

    assert CASES[case].work(lambda: None) == wanted
