"""Does a long training stay as it is? Memory, open files and threads over thousands of steps of each family."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.analysis.figures import new_figure, plain_axes, save_figure
from mmdet_ext.engine.hooks.memory_trace_hook import TRACE
from mmdet_ext.utils.json_file import write_json

from .family_trainings import (
    FAMILIES,
    add_hook,
    check_families,
    draw_phantoms,
    family_config,
    read_rows,
    row_origin,
    train_family,
)

FLAT = 0.01
"""Growth over 1000 steps, as a share of what a training holds, up to which it counts as flat."""
INTERVAL = 20


def run_endurance(
    out: str | Path,
    *,
    steps: int = 2000,
    workers: int = 2,
    families: Sequence[str] = tuple(FAMILIES),
    work_dir: str | Path = 'work_dirs/endurance',
    repository: str | Path = '.',
    seed: int = 0,
    command: str = '',
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Train each family for many steps in a process of its own, and look at what it holds on to.

    Args:
        out: JSON file; families that are not run now keep their row. A picture of the same name is beside it.
        steps: Of each training.
        workers: Of the data loader.
        families: Of `FAMILIES`.
        work_dir: Data and trainings; a finished training of as many steps is not repeated.
        repository: With `configs/` and `tools/train.py`.
        seed: Of data and trainings.
        command: Kept with the figures.
        say: Gets a line for each family.

    Returns:
        The rows, see `judge_trace`.

    Raises:
        ValueError: An unknown family, or fewer than 200 steps.
        RuntimeError: A training failed.
    """
    check_families(families)
    if steps < 10 * INTERVAL:
        raise ValueError(f'a trend needs {10 * INTERVAL} steps or more, got {steps}')
    out, work_dir = Path(out), Path(work_dir).absolute()
    stored = read_rows(out)
    draw_phantoms(work_dir, seed)
    for name in families:
        folder = work_dir / Path(FAMILIES[name]).stem / f'{steps}_steps_{workers}_workers_seed_{seed}'
        cfg = family_config(name, repository, work_dir, steps, workers, seed)
        add_hook(cfg, 'MemoryTraceHook', interval=INTERVAL)
        record = train_family(cfg, folder, repository)
        trace = read_trace(folder / TRACE)
        stored[name] = {
            **judge_trace(trace),
            'steps': steps,
            **row_origin(name, record, workers, seed, command),
            'trace': {key: [round(float(x), 1) for x in value] for key, value in trace.items()},
        }
        write_json(out, {'rows': stored})
        say(f'{name}: {describe(stored[name])}')
    plot_traces(stored, out.with_suffix('.png'))
    return [stored[name] for name in families]


def read_trace(file: str | Path) -> dict[str, np.ndarray]:
    """The columns of a `memory.csv`.

    Raises:
        ValueError: It has no rows.
    """
    with open(file, newline='', encoding='utf-8') as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise ValueError(f'{file} has no rows: the training was shorter than the interval of MemoryTraceHook')
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def judge_trace(trace: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Level and growth over the second half, when caches are full and every kernel is chosen.

    Args:
        trace: See `read_trace`.

    Returns:
        For `resident_mb`, `open_files` and `threads` the median `level` and the slope of a least-squares line,
        `per_1000_steps`; and `flat`, whether memory grows by less than `FLAT` of its level over 1000 steps and nothing
        is opened or started any more.
    """
    late = trace['iteration'] > trace['iteration'][-1] / 2
    found: dict[str, Any] = {}
    for key in ('resident_mb', 'open_files', 'threads'):
        values = trace[key][late]
        slope = np.polyfit(trace['iteration'][late], values, 1)[0] if len(values) > 1 else 0.0
        found[key] = {'level': float(np.median(values)), 'per_1000_steps': float(1000 * slope)}
    memory = found['resident_mb']
    found['flat'] = bool(memory['per_1000_steps'] <= FLAT * memory['level']) and all(
        found[key]['per_1000_steps'] < 0.5 for key in ('open_files', 'threads')
    )
    return found


def describe(row: Mapping[str, Any]) -> str:
    """A line for the console."""
    memory, files, threads = (row[key] for key in ('resident_mb', 'open_files', 'threads'))
    return (
        f'{memory["level"]:.0f} MB, {memory["per_1000_steps"]:+.1f} MB over 1000 steps, {files["level"]:.0f} open '
        f'files, {threads["level"]:.0f} threads: {"flat" if row["flat"] else "it grows"}'
    )


def plot_traces(rows: Mapping[str, Mapping[str, Any]], out: str | Path) -> Path:
    """Resident memory of every family over its steps.

    Args:
        rows: By family, with their `trace`.
        out: Picture file.
    """
    figure = new_figure(8, 4)
    axes = figure.subplots()
    plain_axes(axes, 'Resident memory of a training')
    for name, row in rows.items():
        axes.plot(row['trace']['iteration'], row['trace']['resident_mb'], label=name, linewidth=1.4)
    axes.set_xlabel('step')
    axes.set_ylabel('MB')
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return save_figure(figure, out)


def format_endurance(content: Mapping[str, Any]) -> str:
    """Markdown table of a file that `run_endurance` wrote."""
    lines = [
        '| family | steps | resident memory | growth over 1000 steps | open files | threads | |',
        '|---|--:|--:|--:|--:|--:|---|',
    ]
    for name, row in content['rows'].items():
        memory, files, threads = (row[key] for key in ('resident_mb', 'open_files', 'threads'))
        lines.append(
            f'| {name} | {row["steps"]} | {memory["level"]:.0f} MB | {memory["per_1000_steps"]:+.1f} MB '
            f'| {files["level"]:.0f} | {threads["level"]:.0f} | {"flat" if row["flat"] else "grows"} |'
        )
    return '\n'.join(lines) + '\n'
