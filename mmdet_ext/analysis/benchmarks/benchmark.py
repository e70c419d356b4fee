"""Speed and memory of our components beside a sibling that does the same: alternating in one process, one table.

A row is a `Case` in a file of its own here, listed in `CASES`. No test depends on what is measured:
timings on a shared machine are no ground for that.
"""

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from mmengine.fileio import dump
from tabulate import tabulate

from ..demo.demo import collect_versions
from .complete_iou import COMPLETE_IOU_CASES
from .geometry_attention import GeometryAttentionCase
from .geometry_batch import GeometryBatchCase
from .ghm import GHM_CASES
from .relation_step import RelationStepCase
from .yolo_assigner import YOLO_ASSIGNER_CASES

SIDES = ('ours', 'sibling')
Run = Callable[[], Any]


class Case(Protocol):
    """Two ways to do the same.

    Attributes:
        name: of the row and of its file.
        title: what is measured, on what.
        sibling: what it is compared with.
        speed: the sibling must take at least this many times as long as ours; None: nothing is asked.
        memory: ours may need at most this share of the sibling's extra memory; None: it is not measured.
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


_CASES: tuple[Case, ...] = (
    GeometryAttentionCase(),
    GeometryAttentionCase(projections=True),
    GeometryBatchCase(),
    RelationStepCase(),
    *GHM_CASES,
    *COMPLETE_IOU_CASES,
    *YOLO_ASSIGNER_CASES,
)
CASES = {case.name: case for case in _CASES}


class Sample(NamedTuple):
    """What one case measured: seconds of every call, extra bytes of each side where asked for."""

    seconds: dict[str, list[float]]
    extra_bytes: dict[str, int]


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


def _extra_memory_of(name: str, side: str, device: str, seed: int) -> int:
    case = CASES[name]
    if case.threads:
        torch.set_num_threads(case.threads)
    runs = dict(zip(SIDES, case.prepare(torch.device(device), seed), strict=True))
    return extra_memory(runs[side], torch.device(device))


def _measure_memory(case: Case, device: torch.device, seed: int) -> dict[str, int]:
    """Each side in a process of its own, so that neither finds memory that the other has returned."""
    found = {}
    for side in SIDES:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
            found[side] = pool.submit(_extra_memory_of, case.name, side, str(device), seed).result()
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
    finally:
        torch.set_num_threads(threads)
    memory = {} if case.memory is None else _measure_memory(case, device, seed)
    return Sample(seconds, memory)


def summarize(case: Case, sample: Sample) -> dict[str, Any]:
    """Ratios, targets, and whether they are met: the best and the median both have to reach the speed."""
    ours, sibling = (sample.seconds[side] for side in SIDES)
    row: dict[str, Any] = {
        'title': case.title,
        'sibling': case.sibling,
        'best_s': {'ours': min(ours), 'sibling': min(sibling)},
        'ratio_best': min(sibling) / min(ours),
        'ratio_median': statistics.median(sibling) / statistics.median(ours),
        'target_ratio': case.speed,
        'target_memory': case.memory,
        'memory_share': None,
    }
    met = case.speed is None or min(row['ratio_best'], row['ratio_median']) >= case.speed
    if sample.extra_bytes:
        row['memory_share'] = sample.extra_bytes['ours'] / sample.extra_bytes['sibling']
        met = met and row['memory_share'] <= case.memory
    row['met'] = None if case.speed is None and case.memory is None else met
    return row


def format_rows(results: Sequence[dict[str, Any]]) -> str:
    """One table of all rows."""
    lines = []
    for result in results:
        row, extra = result['summary'], result['extra_bytes']
        best = row['best_s']
        share, most = row['memory_share'], row['target_memory']
        wanted = [] if row['target_ratio'] is None else [f'time x{row["target_ratio"]:.3g}']
        wanted += [] if most is None else [f'memory 1/{1 / most:.3g}']
        lines.append(
            [
                row['title'],
                f'{best["ours"] * 1e3:.0f} ms',
                f'{best["sibling"] * 1e3:.0f} ms, {row["sibling"]}',
                f'x{row["ratio_best"]:.2f}',
                f'x{row["ratio_median"]:.2f}',
                ''
                if share is None
                else f'{extra["ours"] / 2**20:.0f} of {extra["sibling"] / 2**20:.0f} MB, 1/{1 / share:.1f}',
                ', '.join(wanted),
                {True: 'yes', False: 'no', None: ''}[row['met']],
            ]
        )
    headers = ['what', 'ours', 'sibling', 'best', 'median', 'extra memory', 'target', 'met']
    return tabulate(lines, headers=headers, tablefmt='github', disable_numparse=True)


def _processor() -> str:
    """Name of the processor: Linux has it in /proc, others in `platform`."""
    info = Path('/proc/cpuinfo')
    names = [line.split(':')[1].strip() for line in info.read_text().splitlines() if line.startswith('model name')]
    return names[0] if names else platform.processor()


def run_benchmark(
    names: Sequence[str],
    out: str | Path,
    *,
    device: str = 'cpu',
    seed: int = 0,
    repeats: int | None = None,
    command: str = '',
) -> list[dict[str, Any]]:
    """Measure the cases of these names and write one JSON file per case into the folder `out`.

    Raises:
        ValueError: the two sides of a case disagree, or a name is unknown.
    """
    unknown = [name for name in names if name not in CASES]
    if unknown:
        raise ValueError(f'no benchmark is called {", ".join(unknown)}; there are {", ".join(CASES)}')
    results = []
    for name in names:
        case = CASES[name]
        sample = measure(case, torch.device(device), seed, repeats)
        result = {
            'summary': summarize(case, sample),
            'seconds': sample.seconds,
            'extra_bytes': sample.extra_bytes,
            'command': command,
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'seed': seed,
            'device': torch.cuda.get_device_name(device) if device.startswith('cuda') else 'cpu',
            'cpu': _processor(),
            'threads': case.threads or torch.get_num_threads(),
            'versions': collect_versions(),
        }
        Path(out).mkdir(parents=True, exist_ok=True)
        dump(result, str(Path(out) / f'{name.replace("-", "_")}.json'), indent=2)
        results.append(result)
    return results
