"""Speed and memory of our components beside a sibling that does the same, and beside the limit of the machine.

A row is a `Case` in a file of its own here, listed in `CASES`. No test depends on what is measured:
timings on a shared machine are no ground for that.
"""

import json
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tabulate import tabulate

from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import collect_versions, utc_now

from .complete_iou import COMPLETE_IOU_CASES
from .geometry_attention import GeometryAttentionCase
from .geometry_batch import GeometryBatchCase
from .ghm import GHM_CASES
from .limits import least_seconds
from .measure import SIDES, Case, Sample, measure
from .training_step import GPU_STEP_CASES, TRAINING_STEP_CASES
from .yolo_assigner import YOLO_ASSIGNER_CASES

_CASES: tuple[Case, ...] = (
    GeometryAttentionCase(),
    GeometryAttentionCase(projections=True),
    GeometryBatchCase(),
    *GHM_CASES,
    *COMPLETE_IOU_CASES,
    *YOLO_ASSIGNER_CASES,
    *TRAINING_STEP_CASES,
)
CASES = {case.name: case for case in _CASES}
# What takes a GPU to be of interest, or to end: half precision, batches of eight, and other numbers of boxes.
_GPU_CASES: tuple[Case, ...] = (
    GeometryAttentionCase(number=512),
    GeometryAttentionCase(number=2000),
    *GPU_STEP_CASES,
)
GPU_CASES = {case.name: case for case in _GPU_CASES}


def default_cases(device: str) -> list[str]:
    """Names of what is measured on a device when nothing is named."""
    return list(CASES | GPU_CASES if device.startswith('cuda') else CASES)


def summarize(case: Case, sample: Sample) -> dict[str, Any]:
    """Ratios, targets, and whether they are met: the best and the median both have to reach the speed.

    `limit_s` are the seconds that the machine needs at best for what has to be done, and `limit_by` says whether for
    its `'bytes'` or for its `'flops'`.
    """
    ours, sibling = (sample.seconds[side] for side in SIDES)
    limit, slowest = least_seconds(sample.work, sample.rates)
    row: dict[str, Any] = {
        'title': case.title,
        'sibling': case.sibling,
        'best_s': {'ours': min(ours), 'sibling': min(sibling)},
        'ratio_best': min(sibling) / min(ours),
        'ratio_median': statistics.median(sibling) / statistics.median(ours),
        'limit_s': limit,
        'limit_by': slowest,
        'target_ratio': case.speed,
        'target_memory': case.memory,
        'memory_share': None,
    }
    met = case.speed is None or min(row['ratio_best'], row['ratio_median']) >= case.speed
    if sample.extra_bytes:
        row['memory_share'] = sample.extra_bytes['ours'] / sample.extra_bytes['sibling']
        met = met and (case.memory is None or row['memory_share'] <= case.memory)
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
                f'{best["ours"] * 1e3:.1f} ms',
                f'{best["sibling"] * 1e3:.1f} ms, {row["sibling"]}',
                f'x{row["ratio_best"]:.2f}',
                f'x{row["ratio_median"]:.2f}',
                f'{row["limit_s"] * 1e3:.1f} ms, {row["limit_by"]}',
                ''
                if share is None
                else f'{extra["ours"] / 2**20:.0f} of {extra["sibling"] / 2**20:.0f} MB, 1/{1 / share:.1f}',
                ', '.join(wanted),
                {True: 'yes', False: 'no', None: ''}[row['met']],
            ]
        )
    headers = ['what', 'ours', 'sibling', 'best', 'median', 'limit', 'extra memory', 'target', 'met']
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
    """Measure the cases of these names and write each as soon as it is there.

    Args:
        names: of `CASES` or `GPU_CASES`.
        out: JSON file of rows by name; those that are not measured now stay as they are.
        device: `'cpu'` or `'cuda'`.
        seed: of the inputs.
        repeats: measurements of each side; default that of the case.
        command: stored with the row.

    Returns:
        The rows.

    Raises:
        ValueError: the two sides of a case disagree, a name is unknown, or `out` is something else.
    """
    cases = CASES | GPU_CASES
    unknown = [name for name in names if name not in cases]
    if unknown:
        raise ValueError(f'no benchmark is called {", ".join(unknown)}; there are {", ".join(cases)}')
    stored = _read(Path(out))
    for name in names:
        case = cases[name]
        sample = measure(case, torch.device(device), seed, repeats)
        stored[name] = {
            'summary': summarize(case, sample),
            'seconds': sample.seconds,
            'extra_bytes': sample.extra_bytes,
            'work': sample.work._asdict(),
            'rates': sample.rates._asdict(),
            'command': command,
            'date': utc_now(),
            'seed': seed,
            'device': torch.cuda.get_device_name(device) if device.startswith('cuda') else 'cpu',
            'cpu': _processor(),
            'threads': case.threads or torch.get_num_threads(),
            'versions': collect_versions(),
        }
        write_json(out, {each: stored[each] for each in cases if each in stored}, indent=2)
    return [stored[name] for name in names]


def _read(out: Path) -> dict[str, Any]:
    if not out.is_file():
        return {}
    try:
        stored = json.loads(out.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{out} is damaged: {error}; delete it, or name another --out') from error
    if not isinstance(stored, dict) or not all(isinstance(row, dict) and 'summary' in row for row in stored.values()):
        raise ValueError(f'{out} has no rows of a benchmark: name another --out')
    return stored
