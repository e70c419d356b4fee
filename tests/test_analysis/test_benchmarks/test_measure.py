"""Measuring, on cases of known cost."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from mmdet_ext.analysis.benchmarks import measure as module
from mmdet_ext.analysis.benchmarks.limits import Rates, Work
from mmdet_ext.analysis.benchmarks.measure import SIDES, Sample, extra_memory, measure

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

    def work(self, ours):
        return Work(bytes=ours())

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

    monkeypatch.setattr(module, 'time_call', time_call)
    monkeypatch.setattr(module, 'measure_rates', lambda device, dtype: Rates(5.0, 7.0))
    monkeypatch.setattr(module, '_measure_memory', lambda *args: {'ours': 100 << 20, 'sibling': 1000 << 20})


def test_sides_take_turns_and_threads_are_put_back(ticks):
    case, threads = Known(threads=3), torch.get_num_threads()
    sample = measure(case, CPU, 7)
    # Once to compare the results, then in turn, each first every other time.
    assert case.calls == ['ours', 'sibling', 'ours', 'sibling', 'sibling', 'ours', 'ours', 'sibling', 'ours']
    extra = {'ours': 100 << 20, 'sibling': 1000 << 20}
    assert sample == Sample({'ours': [1.0] * 3, 'sibling': [4.0] * 3}, extra, Work(bytes=1), Rates(5.0, 7.0))
    assert torch.get_num_threads() == threads


def test_number_of_repeats_and_no_memory(ticks):
    case = Known(memory=None, threads=None)
    sample = measure(case, CPU, 7, repeats=1)
    assert case.calls == [*['ours', 'sibling'] * 2, 'ours']
    assert sample.extra_bytes == {}


def test_different_results_are_not_timed(ticks):
    case = Known(check=lambda ours, sibling: (_ for _ in ()).throw(ValueError('not the same')))
    with pytest.raises(ValueError, match='not the same'):
        measure(case, CPU, 7)
    assert case.calls == ['ours', 'sibling']


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
    assert 0 < module.time_call(lambda: x @ x, CPU) < 5


def test_a_process_of_its_own_measures_one_side():
    case = Known()
    assert module._extra_memory_of(case, 'sibling', 'cpu', 7) < 4 << 20
    assert case.calls == ['sibling']


def test_both_sides_get_their_process(monkeypatch):
    class Pool(ThreadPoolExecutor):
        def __init__(self, workers, mp_context):
            assert mp_context.get_start_method() == 'spawn'
            super().__init__(workers)

    monkeypatch.setattr(module, 'ProcessPoolExecutor', Pool)
    monkeypatch.setattr(module, '_extra_memory_of', lambda *args: args)
    case = Known()
    wanted = {side: (case, side, 'cpu', 7) for side in SIDES}
    assert module._measure_memory(case, CPU, 7) == wanted


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
        assert module.time_call(lambda: log.append('run'), self.GPU) == 0.25
        assert log == ['record', 'run', 'record', 'synchronize']

    def test_memory_is_that_of_the_allocator(self, log):
        assert extra_memory(lambda: log.append('run'), self.GPU) == 7
        assert log == ['synchronize', 'reset_peak_memory_stats', 'memory_allocated', 'run', 'max_memory_allocated']

    @pytest.mark.parametrize(('threads', 'strict'), [(1, True), (None, False)])
    def test_single_operators_must_not_wait(self, log, threads, strict, monkeypatch):
        def prepare(device, seed):
            return lambda: log.append('ours'), lambda: log.append('sibling')

        monkeypatch.setattr(module, 'measure_rates', lambda device, dtype: None)
        monkeypatch.setattr(module, '_measure_memory', lambda *args: {})
        case = Known(threads=threads, memory=None, prepare=prepare, work=lambda ours: None)
        measure(case, self.GPU, 7, repeats=1)
        assert log[:2] == ['ours', 'sibling']
        assert (log[2:5] == ['error', 'ours', 'default']) is strict
        assert log.count('error') == strict
