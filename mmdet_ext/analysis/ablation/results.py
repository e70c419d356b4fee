"""What the runs of an ablation have left in their folders, put together."""

import json
import shlex
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmdet_ext.engine.hooks.run_record_hook import RECORD
from mmdet_ext.utils.provenance import collect_versions, find_commit

from .grid import Grid, nearest
from .launch import describe_problem
from .plan import Run, check_comparable

# Other versions of these may measure the same boxes otherwise.
_METRIC_VERSIONS = ('mmdet_ext', 'mmengine', 'mmdet', 'onedl-mmengine', 'onedl-mmdetection', 'pycocotools')
# Time and memory are comparable on the same machine alone; another commit may be another detector.
_NOTED = ('commit', 'device', 'machine', 'threads', 'world_size')


def collect_results(grid: Grid, runs: Sequence[Run]) -> dict[str, Any]:
    """Read the records of all runs and compute mean and spread of every arm.

    Args:
        grid: The grid file.
        runs: All of its runs, see `plan_runs`.

    Returns:
        `arms`: name to `options`, `config`, `seeds` (those that are finished), `metrics` (name to `mean`, `std` with
        n - 1, None for one seed, `difference` to the mean of the reference, `values` by seed), `parameters`, `flops`,
        `flops_note`, `step_seconds` (median over the seeds), `peak_memory_mb` (largest). A metric that an arm has no
        value of is None. `metrics`: the names. `runs`: one dict for each, `problem` says why one has no record.
        `missing`: arm, seed and reason of every cell that is empty or made of fewer seeds. `notes`: sentences.

    Raises:
        ValueError: Runs were evaluated by different versions.
    """
    records = [_read_record(run, grid.means) for run in runs]
    done = {record['name']: record for record in records if record['problem'] is None}
    if done:
        versions = {name: _metric_versions(record) for name, record in done.items()}
        check_comparable(versions, 'evaluated by versions that are')
    names, notes = _metric_names(grid, done.values())
    arms: dict[str, Any] = {}
    for arm in grid.arms:
        own = [record for record in done.values() if record['arm'] == arm.name]
        cost = next(run.cost for run in runs if run.arm == arm.name)
        steps = [record['step_seconds'] for record in own if record['step_seconds'] is not None]
        arms[arm.name] = {
            'config': arm.config,
            'options': dict(arm.options),
            'seeds': [record['seed'] for record in own],
            'metrics': {name: _spread(own, name) for name in names},
            **{key: cost[key] for key in ('parameters', 'flops', 'flops_note')},
            'step_seconds': statistics.median(steps) if steps else None,
            'peak_memory_mb': max((record['peak_memory_mb'] for record in own), default=None),
        }
    for name in names:
        base = arms[grid.reference]['metrics'][name]
        for arm_name, row in arms.items():
            if row['metrics'][name] is not None:
                known = base is not None and arm_name != grid.reference
                row['metrics'][name]['difference'] = row['metrics'][name]['mean'] - base['mean'] if known else None
    return {
        'grid': str(grid.file),
        'reference': grid.reference,
        'seeds': list(grid.seeds),
        'metrics': names,
        'arms': arms,
        'missing': list(_missing(records, names)),
        'notes': [*notes, *_differing(done.values())],
        'runs': records,
        'command': shlex.join(['python', *sys.argv]),
        'commit': find_commit(),
        'versions': collect_versions(),
    }


def _read_record(run: Run, means: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    base = {'arm': run.arm, 'seed': run.seed, 'name': run.name, 'folder': str(run.folder), 'data': run.data}
    base['config'] = run.cost['config']
    if not run.finished:
        return {**base, 'problem': describe_problem(run.folder)}
    record = json.loads((run.folder / RECORD).read_text(encoding='utf-8'))
    for name, members in means.items():
        values = [value for member in members if (value := _value(record, member)) is not None]
        record['metrics'][name] = statistics.mean(values) if len(values) == len(members) else None
    return {**record, **base, 'problem': None}


def _metric_versions(record: dict[str, Any]) -> dict[str, str]:
    return {name: number for name, number in record['versions'].items() if name in _METRIC_VERSIONS}


def _value(record: dict[str, Any], name: str) -> float | None:
    """COCO's -1 is no value: there is no object of that size."""
    value = record['metrics'].get(name)
    return None if value is None or value == -1 else value


def _metric_names(grid: Grid, done: Iterable[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The columns of the table, and a sentence for each that no run knows."""
    records = list(done)
    found = {name: None for record in records for name in record['metrics'] if _value(record, name) is not None}
    plain = grid.metrics or tuple(name for name in found if 'mAP' in name)
    wanted = dict.fromkeys([*plain, *(member for members in grid.means.values() for member in members)])
    lost = [name for name in wanted if records and name not in found]
    columns = list(dict.fromkeys([*plain, *grid.means]))
    return columns, [f'No run has the metric {name!r}; {nearest(name, found)}.' for name in lost]


def _spread(records: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    values = {record['seed']: value for record in records if (value := _value(record, name)) is not None}
    if not values:
        return None
    return {
        'mean': statistics.mean(values.values()),
        'std': statistics.stdev(values.values()) if len(values) > 1 else None,
        'values': values,
    }


def _missing(records: Iterable[dict[str, Any]], names: Sequence[str]) -> Iterable[dict[str, Any]]:
    for record in records:
        reason = record['problem']
        if reason is None:
            lacking = [name for name in names if _value(record, name) is None]
            reason = f'the evaluator gave no {", ".join(lacking)}' if lacking else None
        if reason is not None:
            yield {'arm': record['arm'], 'seed': record['seed'], 'reason': reason}


def _differing(done: Iterable[dict[str, Any]]) -> Iterable[str]:
    records = list(done)
    for key in _NOTED:
        groups: dict[str, list[str]] = {}
        for record in records:
            groups.setdefault(str(record[key]), []).append(record['name'])
        if len(groups) > 1:
            parts = '; '.join(f'{value}: {", ".join(names)}' for value, names in groups.items())
            yield f'The runs differ in {key.replace("_", " ")} ({parts}).'
