"""One table over trainings: what each changed, its seed, how long it was trained, its metrics and its versions."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .ablation.grid import nearest
from .ablation.identity import describe_difference
from .report import format_number
from .results_runs import Measurement, RunSummary, find_work_dirs, read_runs
from .tables import markdown_table, write_csv

# A change of a type explains most of the others; more do not fit into a row.
_SHOWN = 4


def run_results_table(
    folders: Sequence[str | Path], metrics: Sequence[str] = (), sort: str | None = None, out: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Collect trainings, compare them, and print the table.

    Args:
        folders: Work directories, or folders above them.
        metrics: Columns; default every metric with mAP in its name, else all that there are.
        sort: Metric by which the rows are sorted, best last value first; default as given.
        out: Folder for `results.md`, `results.csv` and `results.json`; None only prints.
        say: Prints a line for the user.

    Returns:
        Content of `results.json`: `metrics` (names), `runs` (one dict each), `notes` (sentences).

    Raises:
        FileNotFoundError: A folder has no training.
        ValueError: The runs were measured differently, none of them can be read, or a metric is in none of them.
    """
    found = find_work_dirs(folders)
    runs, notes = read_runs(found, _names(found))
    if not runs:
        raise ValueError(f'no training can be read: {" ".join(notes)}')
    check_same_evaluation(runs)
    names = _choose_metrics(runs, metrics, sort)
    if sort is not None:
        runs.sort(key=lambda run: _sort_key(run.metrics.get(sort)))
    result = {
        'metrics': names,
        'runs': [_as_dict(run, changes) for run, changes in zip(runs, config_changes(runs), strict=True)],
        'notes': [*notes, *(f'{run.name}: {note}' for run in runs for note in run.notes)],
    }
    text = format_results(result)
    say(text)
    if out is not None:
        _write(result, text, Path(out))
        say(f'{out}/results.md, .csv, .json')
    return result


def check_same_evaluation(runs: Sequence[RunSummary]) -> None:
    """Refuse runs whose figures must not stand in one table.

    Validation data that are not on this machine are not compared.

    Raises:
        ValueError: Evaluator or validation data of two runs differ; the message names both, and where they differ.
    """
    for what, group in (
        ('evaluator', runs),
        ('data', [run for run in runs if run.data is not None]),
    ):
        for other in group[1:]:
            if difference := describe_difference(getattr(group[0], what), getattr(other, what)):
                raise ValueError(
                    f"'{group[0].name}' and '{other.name}' were measured differently, so their figures must not stand "
                    f'in one table: {difference}. Make a table of each, or test them with the same settings.'
                )


def config_changes(runs: Sequence[RunSummary]) -> list[dict[str, str]]:
    """What sets runs apart: for each run the keys whose values are not the same in all, without those it lacks."""
    keys = {key for run in runs for key in run.config}
    differing = [key for key in keys if len({run.config.get(key) for run in runs}) > 1]
    ordered = sorted(differing, key=lambda key: (not key.endswith('type'), key.count('.'), key))
    return [{key: run.config[key].strip("'") for key in ordered if key in run.config} for run in runs]


def format_results(result: Mapping[str, Any]) -> str:
    """The table as Markdown, with what could not be said in it below.

    Args:
        result: See `run_results_table`.
    """
    runs = result['runs']
    short = _short_names([key for run in runs for key in run['changes']])
    differing = sorted({name for run in runs for name in run['versions'] if _versions_differ(runs, name)})
    head = ['run', 'what differs', 'seed', 'trained', *result['metrics'], *(['versions'] if differing else [])]
    rows = []
    for run in runs:
        row = [
            run['name'],
            _describe_changes(run['changes'], short),
            '' if run['seed'] is None else str(run['seed']),
            _trained(run),
            *(_cell(run['metrics'].get(name), run['unit']) for name in result['metrics']),
        ]
        rows.append([*row, *([_describe_versions(run, differing)] if differing else [])])
    lines = [markdown_table(head, rows), '', 'Metrics: after the last validation; in brackets the best one, and when.']
    same: Mapping[str, str] = next((run['versions'] for run in runs if run['versions']), {})
    shared = ', '.join(f'{name} {number}' for name, number in same.items() if name not in differing)
    lines += [f'Versions: {shared}.'] if shared else []
    unknown = [run['name'] for run in runs if not run['versions']]
    if unknown:
        lines.append(f'No run_record.json (RunRecordHook), so versions are unknown: {", ".join(unknown)}.')
    return '\n'.join([*lines, *(f'- {note}' for note in result['notes'])]) + '\n'


def _names(folders: Sequence[Path]) -> list[str]:
    """Folders without what they share."""
    whole = [folder.resolve() for folder in folders]
    if len(whole) == 1:
        return [whole[0].name]
    shared = os.path.commonpath(whole)
    # One of them may hold the others.
    return [
        folder.name if (name := os.path.relpath(folder, shared)) == '.' else Path(name).as_posix() for folder in whole
    ]


def _choose_metrics(runs: Sequence[RunSummary], wanted: Sequence[str], sort: str | None) -> list[str]:
    found = list(dict.fromkeys(name for run in runs for name in run.metrics))
    for name in [*wanted, *([sort] if sort else [])]:
        if name not in found:
            hint = nearest(name, found) if found else 'none of them has been validated'
            raise ValueError(f'no run has the metric {name!r}; {hint}')
    return list(wanted) or [name for name in found if 'mAP' in name] or found


def _sort_key(value: Measurement | None) -> tuple[bool, float]:
    if value is None:
        return True, 0.0
    # The best of a metric of which less is better is at most its last value.
    return False, value.last if value.best < value.last else -value.last


def _as_dict(run: RunSummary, changes: Mapping[str, str]) -> dict[str, Any]:
    return {
        'name': run.name,
        'folder': str(run.folder),
        'seed': run.seed,
        'done': run.done,
        'planned': run.planned,
        'unit': run.unit,
        'finished': run.finished,
        'metrics': {name: vars(value) for name, value in run.metrics.items()},
        'versions': dict(run.versions),
        'changes': dict(changes),
    }


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """The last words of each key, as many as tell it apart from the others."""
    unique, short = list(dict.fromkeys(keys)), {}
    for key in unique:
        words = key.split('.')
        tails = ['.'.join(words[-number:]) for number in range(1, len(words) + 1)]
        short[key] = next(
            (t for t in tails if not t.isdigit() and sum(f'.{other}'.endswith(f'.{t}') for other in unique) == 1), key
        )
    return short


def _describe_changes(changes: Mapping[str, str], short: Mapping[str, str]) -> str:
    shown = [f'{short[key]}={value if len(value) <= 40 else value[:37] + "..."}' for key, value in changes.items()]
    more = len(shown) - _SHOWN
    return ', '.join(shown[:_SHOWN]) + (f' and {more} more' if more > 0 else '')


def _trained(run: Mapping[str, Any]) -> str:
    done = '?' if run['done'] is None else run['done']
    total = '' if run['planned'] is None else f'/{run["planned"]}'
    return f'{done}{total} {run["unit"]}' + ('' if run['finished'] else ', not finished')


def _cell(value: Mapping[str, Any] | None, unit: str) -> str:
    if value is None:
        return ''
    text = format_number(value['last'])
    if value['best'] == value['last']:
        return text
    return f'{text} ({format_number(value["best"])}, {unit[:-1]} {value["best_at"]})'


def _versions_differ(runs: Sequence[Mapping[str, Any]], name: str) -> bool:
    return len({run['versions'].get(name) for run in runs if run['versions']}) > 1


def _describe_versions(run: Mapping[str, Any], differing: Sequence[str]) -> str:
    return ', '.join(f'{name} {run["versions"][name]}' for name in differing if name in run['versions'])


def _write(result: Mapping[str, Any], text: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'results.md').write_text(text, encoding='utf-8')
    (folder / 'results.json').write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    keys = list(dict.fromkeys(key for run in result['runs'] for key in run['changes']))
    versions = list(dict.fromkeys(name for run in result['runs'] for name in run['versions']))
    plain = ['name', 'folder', 'seed', 'done', 'planned', 'unit', 'finished']
    parts = [(name, part) for name in result['metrics'] for part in ('last', 'best', 'best_at')]
    rows = [
        [
            *(run[key] for key in plain),
            *((run['metrics'].get(name) or {}).get(part) for name, part in parts),
            *(run['changes'].get(key) for key in keys),
            *(run['versions'].get(name) for name in versions),
        ]
        for run in result['runs']
    ]
    head = [*plain, *(f'{name} {part}' for name, part in parts), *keys, *(f'version of {name}' for name in versions)]
    write_csv(folder / 'results.csv', head, rows)
