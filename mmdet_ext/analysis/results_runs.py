"""What trainings have left in their work directories: config, log, record; as the results table wants it."""

import contextlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_ext.engine.hooks.run_record_hook import RECORD

from .ablation.identity import config_identity, data_identity, evaluation_settings
from .logs.training_log import SCALARS, TrainingLog, is_of_validation, read_training_log

# Where and how a run was started, which says nothing of what was trained.
_CIRCUMSTANCES = ('resume', 'experiment_name')
_LESS_IS_BETTER = re.compile(r'loss|nme|error|failure', re.IGNORECASE)


@dataclass(frozen=True)
class Measurement:
    """One metric of one run.

    Attributes:
        last: After the last validation.
        best: Of all validations; the lowest for losses, errors and failure rates.
        best_at: Epoch or iteration of the best; None where the log does not tell.
    """

    last: float
    best: float
    best_at: int | None


@dataclass(frozen=True)
class RunSummary:
    """One training.

    Attributes:
        name: Its folder, without what all runs of a table share.
        folder: Work directory.
        config: Dotted key to value, see `config_identity`.
        evaluator: See `evaluation_settings`.
        data: Of the validation, see `data_identity`; None where they are not on this machine.
        seed: None where nothing tells it.
        done: Epochs or iterations that were trained, by the log or the record; None where neither tells.
        planned: The same, by the config.
        unit: 'epochs' or 'iterations'.
        finished: Whether the training has written its record, or all of its epochs are in the log.
        metrics: By name.
        versions: Name to version; empty without a record.
        notes: Sentences.
    """

    name: str
    folder: Path
    config: Mapping[str, str]
    evaluator: Mapping[str, str]
    data: Mapping[str, str] | None
    seed: int | None
    done: int | None
    planned: int | None
    unit: str
    finished: bool
    metrics: Mapping[str, Measurement]
    versions: Mapping[str, str]
    notes: Sequence[str]


def find_work_dirs(folders: Iterable[str | Path]) -> list[Path]:
    """Work directories among folders and below them, each once, sorted below each folder.

    Raises:
        FileNotFoundError: A folder is not there, or has no training in it.
    """
    found: dict[Path, None] = {}
    for folder in map(Path, folders):
        if not folder.is_dir():
            raise FileNotFoundError(f'There is no folder {folder} (looked from {Path.cwd()}).')
        own = {file.parents[2] for file in folder.rglob(SCALARS) if file.parents[2].is_relative_to(folder)}
        own |= {file.parent for file in folder.rglob(RECORD)}
        if not own:
            raise FileNotFoundError(
                f'{folder} has no training in it: no {RECORD} and no TIME/{SCALARS}; give work directories, or folders '
                'above them'
            )
        found |= dict.fromkeys(sorted(own))
    return list(found)


def read_runs(folders: Sequence[Path], names: Sequence[str]) -> tuple[list[RunSummary], list[str]]:
    """Read trainings; one that cannot be read gives a sentence instead.

    Args:
        folders: Work directories.
        names: Of the runs.
    """
    read = [_read_or_say(folder, name) for folder, name in zip(folders, names, strict=True)]
    return [run for run in read if isinstance(run, RunSummary)], [text for text in read if isinstance(text, str)]


def _read_or_say(folder: Path, name: str) -> RunSummary | str:
    try:
        return _read_run(folder, name)
    except ValueError as error:
        return f'Left out: {error}'


def _read_run(folder: Path, name: str) -> RunSummary:
    """Read a training.

    Raises:
        ValueError: Its config cannot be read, or it has neither log nor record with figures.
    """
    cfg = _read_config(folder)
    record = _read_record(folder)
    log, notes = _read_log(folder)
    if log is None and record is None:
        raise ValueError(f'{folder}: {" ".join(notes)}')
    identity = config_identity(cfg)
    data = None
    try:
        data = data_identity(Config(dict(val_dataloader=cfg.get('val_dataloader'))))
    except FileNotFoundError as error:
        notes.append(f'its validation data are not compared, for they are not here: {error}')
    loop = cfg.get('train_cfg') or {}
    unit = 'epochs' if 'max_epochs' in loop else 'iterations'
    planned = loop.get('max_epochs', loop.get('max_iters'))
    done = _done(log, record, unit)
    return RunSummary(
        name=name,
        folder=folder,
        config={key: value for key, value in identity.items() if key not in _CIRCUMSTANCES},
        evaluator=evaluation_settings(identity),
        data=data,
        seed=_seed(folder, cfg, record),
        done=planned if record is not None and unit == 'epochs' else done,
        planned=planned,
        unit=unit,
        finished=record is not None or (done is not None and done == planned),
        metrics=_measurements(log, record, unit),
        versions={} if record is None else record['versions'],
        notes=notes,
    )


def _read_config(folder: Path) -> Config:
    """The config that the training was begun with: one that resumes has a checkpoint of its own in `load_from`."""
    dumped = sorted(folder.glob('*/vis_data/config.py')) or sorted(folder.glob('*.py'), key=lambda f: f.stat().st_mtime)
    if not dumped:
        raise ValueError(
            f'{folder} has no config (TIME/vis_data/config.py or *.py), so nothing tells how it was measured'
        )
    newest = cfg = _load(dumped[-1])
    for file in reversed(dumped[:-1]):
        if not cfg.get('resume'):
            return cfg
        cfg = _load(file)
    if cfg.get('resume'):
        newest.load_from, cfg = None, newest
    return cfg


def _load(file: Path) -> Config:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Config.fromfile(file, import_custom_modules=False)
    except Exception as error:  # a config is a program
        raise ValueError(f'{file} cannot be read: {type(error).__name__}: {error}') from error


def _read_record(folder: Path) -> dict[str, Any] | None:
    file = folder / RECORD
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text(encoding='utf-8'))
        return record if {'metrics', 'versions', 'iterations'} <= record.keys() else None
    except (ValueError, AttributeError) as error:
        raise ValueError(f'{file} is damaged ({error}); delete it, and the log alone is read') from error


def _read_log(folder: Path) -> tuple[TrainingLog | None, list[str]]:
    try:
        log = read_training_log(folder)
    except (FileNotFoundError, ValueError) as error:
        return None, [str(error)]
    return log, list(log.notes)


def _done(log: TrainingLog | None, record: Mapping[str, Any] | None, unit: str) -> int | None:
    if unit == 'iterations' and record is not None:
        return int(record['iterations'])
    if log is None:
        return None
    if unit == 'iterations':
        return log.last_iteration
    epochs = [int(row['epoch']) for row in log.rows if 'epoch' in row]
    return max(epochs, default=None)


def _seed(folder: Path, cfg: Config, record: Mapping[str, Any] | None) -> int | None:
    """By the record, the config, or what mmengine has printed at the last start."""
    if record is not None and record.get('seed') is not None:
        return int(record['seed'])
    named = (cfg.get('randomness') or {}).get('seed')
    if named is not None:
        return int(named)
    for file in sorted(folder.glob('*/*.log'), reverse=True):
        if printed := re.search(r'^\s+seed: (\d+)$', file.read_text(encoding='utf-8', errors='replace'), re.MULTILINE):
            return int(printed[1])
    return None


def _measurements(log: TrainingLog | None, record: Mapping[str, Any] | None, unit: str) -> dict[str, Measurement]:
    series: dict[str, list[tuple[float, int | None]]] = {}
    epoch: int | None = None
    for row in () if log is None else log.rows:
        epoch = int(row['epoch']) if 'epoch' in row else epoch
        place = epoch if unit == 'epochs' else int(row['iter'])
        for name, value in row.items():
            if is_of_validation(name) and math.isfinite(value):
                series.setdefault(name, []).append((value, place))
    # A run that was restored from a table has a record alone; where both are there, they end with the same figures.
    for name, value in () if record is None else record['metrics'].items():
        if '/' in name and value is not None and value != -1 and name not in series:
            series[name] = [(value, None)]
    found = {}
    for name, values in series.items():
        best, place = (min if _LESS_IS_BETTER.search(name) else max)(values, key=lambda pair: pair[0])
        found[name] = Measurement(values[-1][0], best, place)
    return found
