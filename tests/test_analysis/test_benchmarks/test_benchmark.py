"""Measuring, judging and tables of the benchmark, on cases of known cost."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mmdet_ext.analysis.benchmarks import benchmark
from mmdet_ext.analysis.benchmarks.benchmark import Sample, extra_memory, format_rows, measure, run_benchmark, summarize

CPU = torch.device('cpu')


class Known:
    """Ours takes one tick, the sibling four; neither does anything."""

    name, title, sibling = 'known-case', 'known', 'four times slower'
    speed, memory, threads, repeats = 3.0, 1 / 8, 1, 3

    def __init__(self, **options):
        self.calls = []
        vars(self).update(options)

    def prepare(self, device, seed):
        assert (device, seed) == (CPU, 7)
        return lambda: self.calls.append('ours') or 1, lambda: self.calls.append('sibling') or 1

    def check(self, ours, sibling):
        if ours != sibling:
            raise ValueError('not the same')


@pytest.fixture
def ticks(monkeypatch):
    """Time goes by the calls: 1 s for ours, 4 s for the sibling."""

    def time_call(run, device):
        return run() and (1.0 if case_of(run).calls[-1] == 'ours' else 4.0)

    def case_of(run):
        return next(cell.cell_contents for cell in run.__closure__)

    monkeypatch.setattr(benchmark, 'time_call', time_call)
    monkeypatch.setattr(benchmark, '_measure_memory', lambda *args: {'ours': 100 << 20, 'sibling': 1000 << 20})


def test_sides_take_turns_and_threads_are_put_back(ticks):
    case, threads = Known(threads=3), torch.get_num_threads()
    sample = measure(case, CPU, 7)
    # Once to compare the results, then in turn, each first every other time.
    assert case.calls == ['ours', 'sibling', 'ours', 'sibling', 'sibling', 'ours', 'ours', 'sibling']
    assert sample == Sample({'ours': [1.0] * 3, 'sibling': [4.0] * 3}, {'ours': 100 << 20, 'sibling': 1000 << 20})
    assert torch.get_num_threads() == threads


def test_number_of_repeats_and_no_memory(ticks):
    case = Known(memory=None, threads=None)
    sample = measure(case, CPU, 7, repeats=1)
    assert case.calls == ['ours', 'sibling'] * 2
    assert sample.extra_bytes == {}


def test_different_results_are_not_timed(ticks):
    case = Known(check=lambda ours, sibling: (_ for _ in ()).throw(ValueError('not the same')))
    with pytest.raises(ValueError, match='not the same'):
        measure(case, CPU, 7)
    assert case.calls == ['ours', 'sibling']


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
    assert summarize(Known(), Sample(seconds, extra))['met'] is met


def test_without_target():
    sample = Sample({'ours': [1.0], 'sibling': [0.5]}, {})
    assert summarize(Known(speed=None, memory=None), sample)['met'] is None
    assert summarize(Known(speed=0.4, memory=None), sample)['met'] is True


def test_run_writes_one_file_per_case(ticks, tmp_path, monkeypatch):
    monkeypatch.setitem(benchmark.CASES, 'known-case', Known())
    monkeypatch.setitem(benchmark.CASES, 'free', Known(name='free', speed=None, memory=None, title='other'))
    results = run_benchmark(['known-case', 'free'], tmp_path / 'new', seed=7, repeats=2, command='python x')
    stored = json.loads((tmp_path / 'new' / 'known_case.json').read_text())
    assert stored == json.loads(json.dumps(results[0]))
    assert stored['seconds'] == {'ours': [1.0, 1.0], 'sibling': [4.0, 4.0]}
    assert (stored['command'], stored['seed'], stored['device'], stored['threads']) == ('python x', 7, 'cpu', 1)
    assert {'torch', 'mmdet_ext'} <= set(stored['versions'])
    assert stored['date'].startswith('20')
    assert stored['cpu']
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in format_rows(results).splitlines()]
    assert rows[2] == [
        'known', '1000 ms', '4000 ms, four times slower', 'x4.00', 'x4.00', '100 of 1000 MB, 1/10.0',
        'time x3, memory 1/8', 'yes',
    ]  # fmt: skip
    assert rows[3][5:] == ['', '', '']


def test_unknown_names_are_listed(tmp_path):
    with pytest.raises(ValueError, match='no benchmark is called typo; there are geometry-attention, '):
        run_benchmark(['relation-step', 'typo'], tmp_path)
    assert not list(tmp_path.iterdir())


def test_extra_memory_is_the_peak_above_what_was_there():
    kept = [torch.ones(4 << 20)]

    def run():
        kept.append(torch.ones(16 << 20))
        del kept[1]

    assert 60 < extra_memory(run, CPU) / 2**20 < 80
    assert extra_memory(lambda: None, CPU) < 4 << 20


def test_time_is_that_of_the_call():
    torch.manual_seed(0)
    x = torch.rand(200, 200)
    assert 0 < benchmark.time_call(lambda: x @ x, CPU) < 5


def test_a_process_of_its_own_measures_one_side(monkeypatch):
    case = Known()
    monkeypatch.setitem(benchmark.CASES, 'known-case', case)
    assert benchmark._extra_memory_of('known-case', 'sibling', 'cpu', 7) < 4 << 20
    assert case.calls == ['sibling']


def test_both_sides_get_their_process(monkeypatch):
    class Pool(ThreadPoolExecutor):
        def __init__(self, workers, mp_context):
            assert mp_context.get_start_method() == 'spawn'
            super().__init__(workers)

    monkeypatch.setattr(benchmark, 'ProcessPoolExecutor', Pool)
    monkeypatch.setattr(benchmark, '_extra_memory_of', lambda *args: args)
    case = Known()
    wanted = {side: ('known-case', side, 'cpu', 7) for side in benchmark.SIDES}
    assert benchmark._measure_memory(case, CPU, 7) == wanted


class TestOnGPU:
    """The calls of a GPU, on a machine without one."""

    GPU = torch.device('cuda')

    @pytest.fixture
    def log(self, monkeypatch):
        log = []

        class Event:
            def __init__(self, enable_timing):
                assert enable_timing

            def record(self):
                log.append('record')

            def elapsed_time(self, end):
                assert end is not self
                return 250.0

        monkeypatch.setattr(torch.cuda, 'Event', Event)
        results = dict(synchronize=None, reset_peak_memory_stats=None, memory_allocated=5, max_memory_allocated=12)
        for name, value in results.items():
            monkeypatch.setattr(torch.cuda, name, lambda *args, name=name, value=value: log.append(name) or value)
        monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', log.append)
        return log

    def test_time_is_that_of_the_device(self, log):
        assert benchmark.time_call(lambda: log.append('run'), self.GPU) == 0.25
        assert log == ['record', 'run', 'record', 'synchronize']

    def test_memory_is_that_of_the_allocator(self, log):
        assert extra_memory(lambda: log.append('run'), self.GPU) == 7
        assert log == ['synchronize', 'reset_peak_memory_stats', 'memory_allocated', 'run', 'max_memory_allocated']

    @pytest.mark.parametrize(('threads', 'strict'), [(1, True), (None, False)])
    def test_single_operators_must_not_wait(self, log, threads, strict):
        def prepare(device, seed):
            return lambda: log.append('ours'), lambda: log.append('sibling')

        measure(Known(threads=threads, memory=None, prepare=prepare), self.GPU, 7, repeats=1)
        assert log[:2] == ['ours', 'sibling']
        assert (log[2:5] == ['error', 'ours', 'default']) is strict
        assert log.count('error') == strict
