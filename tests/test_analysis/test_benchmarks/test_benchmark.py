"""Judging, storing and tables of the benchmark, on cases of known cost."""

import json
import pickle

import pytest

from mmdet_ext.analysis.benchmarks import benchmark
from mmdet_ext.analysis.benchmarks.benchmark import format_rows, run_benchmark, summarize
from mmdet_ext.analysis.benchmarks.limits import Rates, Work
from mmdet_ext.analysis.benchmarks.measure import Sample


class Known:
    """What its sample says is given by the test."""

    name, title, sibling = 'known-case', 'known', 'four times slower'
    speed, memory, threads, repeats = 3.0, 1 / 8, 1, 3

    def __init__(self, **options):
        vars(self).update(options)


def sample(seconds=None, extra=None, flops=10.0):
    work, rates = Work(bytes=40.0, flops=flops), Rates(bytes=80.0, flops=100.0)
    return Sample(seconds or {'ours': [1.0], 'sibling': [4.0]}, extra or {}, work, rates)


@pytest.mark.parametrize(
    ('seconds', 'extra', 'met'),
    [
        ({'ours': [1, 1, 1], 'sibling': [3, 3, 3]}, {'ours': 1, 'sibling': 8}, True),
        ({'ours': [1, 1, 1], 'sibling': [3, 2, 2]}, {'ours': 1, 'sibling': 8}, False),  # best 2
        ({'ours': [1, 2, 2], 'sibling': [4, 4, 4]}, {'ours': 1, 'sibling': 8}, False),  # median 2
        ({'ours': [1, 1, 1], 'sibling': [3, 3, 3]}, {'ours': 2, 'sibling': 8}, False),
    ],
)
def test_a_target_is_met_by_best_median_and_memory(seconds, extra, met):
    assert summarize(Known(), sample(seconds, extra))['met'] is met


def test_without_target():
    slow = sample({'ours': [1.0], 'sibling': [0.5]})
    assert summarize(Known(speed=None, memory=None), slow)['met'] is None
    assert summarize(Known(speed=0.4, memory=None), slow)['met'] is True


def test_the_limit_is_the_slower_of_both():
    row = summarize(Known(memory=None), sample())
    assert (row['limit_s'], row['limit_by']) == (0.5, 'bytes')
    row = summarize(Known(memory=None), sample(flops=90.0))
    assert (row['limit_s'], row['limit_by']) == (0.9, 'flops')


@pytest.fixture
def known(monkeypatch):
    def measure(case, device, seed, repeats):
        assert (str(device), seed) == ('cpu', 7)
        extra = {'ours': 100 << 20, 'sibling': 1000 << 20} if case.memory else {}
        return sample({'ours': [1.0] * repeats, 'sibling': [4.0] * repeats}, extra)

    cases = [Known(), Known(name='free', speed=None, memory=None, title='other')]
    monkeypatch.setattr(benchmark, 'CASES', {case.name: case for case in cases})
    monkeypatch.setattr(benchmark, 'measure', measure)


def test_rows_are_written_one_by_one_and_stay(known, tmp_path):
    out = tmp_path / 'new' / 'speed.json'
    run_benchmark(['free'], out, seed=7, repeats=1)
    results = run_benchmark(['known-case'], out, seed=7, repeats=2, command='python x')
    stored = json.loads(out.read_text())
    assert list(stored) == ['known-case', 'free']
    row = stored['known-case']
    assert [row] == json.loads(json.dumps(results))
    assert row['seconds'] == {'ours': [1.0, 1.0], 'sibling': [4.0, 4.0]}
    assert (row['command'], row['seed'], row['device'], row['threads']) == ('python x', 7, 'cpu', 1)
    assert (row['work'], row['rates']) == ({'bytes': 40.0, 'flops': 10.0}, {'bytes': 80.0, 'flops': 100.0})
    assert {'torch', 'mmdet_ext'} <= set(row['versions'])
    assert row['date'].startswith('20')
    assert row['cpu']
    table = format_rows([*results, stored['free']]).splitlines()
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in table]
    assert rows[2] == [
        'known', '1000.0 ms', '4000.0 ms, four times slower', 'x4.00', 'x4.00', '500.0 ms, bytes',
        '100 of 1000 MB, 1/10.0', 'time x3, memory 1/8', 'yes',
    ]  # fmt: skip
    assert rows[3][6:] == ['', '', '']


def test_another_file_is_not_overwritten(known, tmp_path):
    out = tmp_path / 'speed.json'
    for text, sentence in (('{', r'speed\.json is damaged: '), ('{"a": 1}', 'has no rows of a benchmark')):
        out.write_text(text)
        with pytest.raises(ValueError, match=sentence):
            run_benchmark(['free'], out, seed=7)
        assert out.read_text() == text


def test_unknown_names_are_listed(tmp_path):
    with pytest.raises(ValueError, match='no benchmark is called typo; there are geometry-attention, '):
        run_benchmark(['relation-step', 'typo'], tmp_path / 'speed.json')
    assert not list(tmp_path.iterdir())


def test_names_are_unique():
    assert len(benchmark.CASES) == len(benchmark._CASES)


def test_what_is_measured_by_default():
    on_gpu = set(benchmark.default_cases('cuda:0')) - set(benchmark.default_cases('cpu'))
    assert benchmark.default_cases('cpu') == list(benchmark.CASES)
    assert on_gpu == set(benchmark.GPU_CASES) == {
        'geometry-attention-512', 'geometry-attention-2000', 'relation-step-1-fp32', 'relation-step-1-bf16',
        'relation-step-8-fp32', 'relation-step-8-bf16',
    }  # fmt: skip


def test_cases_can_be_sent_to_the_process_that_measures_memory():
    for name, case in (benchmark.CASES | benchmark.GPU_CASES).items():
        assert pickle.loads(pickle.dumps(case)).title == case.title, name
