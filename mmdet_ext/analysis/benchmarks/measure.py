"""Time and memory of two ways to do the same, alternating in one process."""

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from .limits import Rates, Work, measure_rates

SIDES = ('ours', 'sibling')
Run = Callable[[], Any]


class Case(Protocol):
    """Two ways to do the same.

    Attributes:
        name: of the row.
        title: what is measured, on what.
        sibling: what it is compared with.
        speed: the sibling must take at least this many times as long as ours; None: nothing is asked.
        memory: ours may need at most this share of the sibling's extra memory; None: nothing is asked,
            and it is measured on a GPU only, where that is quick.
        threads: CPU threads; None leaves torch's number.
        repeats: measurements of each side.

    A case whose `waits` is true may wait for a GPU.
    """

    name: str
    title: str
    sibling: str
    speed: float | None
    memory: float | None
    threads: int | None
    repeats: int

    def prepare(self, device: torch.device, seed: int) -> tuple[Run, Run]:
        """Ours and the sibling on the same input; a call does all the work that is timed and gives its result."""

    def check(self, ours: Any, sibling: Any) -> None:
        """Raise a `ValueError` unless both results are the same."""

    def work(self, ours: Run) -> Work:
        """The least that has to be done for the result."""


class Sample(NamedTuple):
    """What one case measured.

    Attributes:
        seconds: of every call.
        extra_bytes: of each side where asked for.
        work: the least that has to be done.
        rates: what the machine can do with as many threads.
    """

    seconds: dict[str, list[float]]
    extra_bytes: dict[str, int]
    work: Work
    rates: Rates


def time_call(run: Run, device: torch.device) -> float:
    """Seconds of one call, on a GPU by its own clock."""
    if device.type == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize(device)
        return start.elapsed_time(end) / 1000
    start_time = time.perf_counter()
    run()
    return time.perf_counter() - start_time


def _resident(field: str) -> int:
    """A line of /proc/self/status in bytes: `VmRSS` is the memory in use, `VmHWM` its highest value."""
    lines = Path('/proc/self/status').read_text('ascii').splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{field}:'))


def extra_memory(run: Run, device: torch.device) -> int:
    """Bytes above the present state that a call needs at its peak; on a CPU of the whole process (Linux)."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        return torch.cuda.max_memory_allocated(device) - before
    # Sets the highest value back to the present one.
    Path('/proc/self/clear_refs').write_text('5', 'ascii')
    before = _resident('VmRSS')
    run()
    return _resident('VmHWM') - before


def _extra_memory_of(case: Case, side: str, device: str, seed: int) -> int:
    if case.threads:
        torch.set_num_threads(case.threads)
    runs = dict(zip(SIDES, case.prepare(torch.device(device), seed), strict=True))
    return extra_memory(runs[side], torch.device(device))


def _measure_memory(case: Case, device: torch.device, seed: int) -> dict[str, int]:
    """Each side in a process of its own, so that neither finds memory that the other has returned."""
    found = {}
    for side in SIDES:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
            found[side] = pool.submit(_extra_memory_of, case, side, str(device), seed).result()
    return found


def measure(case: Case, device: torch.device, seed: int, repeats: int | None = None) -> Sample:
    """Check that both sides agree, then time them in turn; on a GPU also that ours never waits for the device."""
    threads = torch.get_num_threads()
    if case.threads:
        torch.set_num_threads(case.threads)
    try:
        ours, sibling = case.prepare(device, seed)
        case.check(ours(), sibling())
        if device.type == 'cuda' and case.threads == 1 and not getattr(case, 'waits', False):
            # Single operators only: mmdet's own samplers and NMS wait in every step.
            torch.cuda.set_sync_debug_mode('error')
            try:
                ours()
            finally:
                torch.cuda.set_sync_debug_mode('default')
        seconds: dict[str, list[float]] = {side: [] for side in SIDES}
        for turn in range(repeats or case.repeats):
            # Each side is the first one every other time: what one leaves in caches and memory, the next one meets.
            for side, run in list(zip(SIDES, (ours, sibling), strict=True))[:: -1 if turn % 2 else 1]:
                seconds[side].append(time_call(run, device))
        work = case.work(ours)
        # The children that look at memory need all of the device's.
        del ours, sibling, run
        if device.type == 'cuda':
            torch.cuda.empty_cache()
        rates = measure_rates(device, getattr(case, 'dtype', None) or torch.float32)
    finally:
        torch.set_num_threads(threads)
    asked = case.memory is not None or device.type == 'cuda'
    memory = _measure_memory(case, device, seed) if asked else {}
    return Sample(seconds, memory, work, rates)
