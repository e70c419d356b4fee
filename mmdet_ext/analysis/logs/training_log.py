"""Reads what mmengine has logged of a training (`vis_data/scalars.json`), over all of its starts."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCALARS = 'vis_data/scalars.json'
# What a line says about itself, and of a validation what would mix with the training's.
_POSITION = ('iter', 'step', 'epoch')
_VALIDATION_TIMES = ('time', 'data_time')


def is_of_validation(name: str) -> bool:
    """Whether a scalar is a metric or a loss of the validation."""
    return '/' in name


def is_noisy(name: str) -> bool:
    """Whether a running mean says more than the values: of all that is measured in training; not of its schedule."""
    return not is_of_validation(name) and name.split('.')[-1] not in ('lr', 'base_lr', 'momentum')


@dataclass(frozen=True)
class TrainingLog:
    """The scalars of one training.

    Attributes:
        name: For legends.
        files: That were read, the oldest first.
        rows: One a line of the log: `iter` (of a validation the last one logged before it), `epoch` where the log has
            it, and the scalars. Those of a validation are named as its metrics are (`coco/bbox_mAP`), else `val/...`;
            `iterations_per_second` is one over the logged time.
        notes: Sentences on what could not be read.
    """

    name: str
    files: tuple[Path, ...]
    rows: tuple[Mapping[str, float], ...]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Scalars, in the order in which they appear."""
        return list(dict.fromkeys(name for row in self.rows for name in row if name not in _POSITION))

    def points(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Iterations and values of a scalar, both (n,)."""
        found = [(row['iter'], row[name]) for row in self.rows if name in row]
        iterations, values = np.array(found, dtype=float).reshape(-1, 2).T
        return iterations, values

    @property
    def last_iteration(self) -> int:
        """The last one logged."""
        return int(self.rows[-1]['iter'])

    @property
    def epoch_length(self) -> int | None:
        """Iterations of an epoch, from the first lines of two that follow each other; None where the log has none."""
        first: dict[int, int] = {}
        for row in self.rows:
            if 'epoch' in row:
                first.setdefault(int(row['epoch']), int(row['iter']))
        return next((first[epoch + 1] - first[epoch] for epoch in first if epoch + 1 in first), None)


def read_training_log(work_dir: str | Path, name: str | None = None) -> TrainingLog:
    """Read the log of a training.

    mmengine begins a file at every start. A start that goes on from a checkpoint repeats what came after that: the new
    lines count, so a new training in an old folder replaces all of the old one's.

    Args:
        work_dir: Work directory of a training, the folder of one of its starts, or a `scalars.json`.
        name: For legends; default the name of the folder.

    Raises:
        FileNotFoundError: There is no such log.
        ValueError: A log is damaged before its last line, or has no line of a training, or no scalar.
    """
    work_dir = Path(work_dir)
    if work_dir.is_file():
        files = [work_dir]
    elif (work_dir / SCALARS).is_file():
        files = [work_dir / SCALARS]
    else:
        files = sorted(work_dir.glob(f'*/{SCALARS}'))
    if not files:
        raise FileNotFoundError(
            f'{work_dir} has no {SCALARS}, neither itself nor below a folder named after a time: give the work '
            'directory of a training that has a LocalVisBackend (every config of mmdet has)'
        )
    rows: list[dict[str, float]] = []
    notes: list[str] = []
    for file in files:
        _read_file(file, rows, notes)
    if not rows:
        raise ValueError(f'{", ".join(map(str, files))}: no line of a training (with "iter") in it')
    log = TrainingLog(name or work_dir.resolve().name, tuple(files), tuple(rows), tuple(notes))
    if not log.names:
        raise ValueError(f'{", ".join(map(str, files))}: its lines hold no scalar, such as a loss')
    return log


def _read_file(file: Path, rows: list[dict[str, float]], notes: list[str]) -> None:
    """Add the lines of a file to those of the files before it."""
    lines = file.read_text(encoding='utf-8', errors='replace').splitlines()
    started = False
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f'{file}, line {number} is damaged: {error}') from error
            notes.append(f'The last line of {file} is cut off and was left out.')
            continue
        if not isinstance(content, dict):
            raise ValueError(f'{file}, line {number} is {line[:40]!r}; a line of mmengine is a dict of scalars')
        if 'iter' in content:
            started = True
            if rows and rows[-1]['iter'] >= content['iter']:
                # Begun again from an earlier iteration.
                rows[:] = [row for row in rows if row['iter'] < content['iter']]
            rows.append(_numbers(content))
        elif started:
            # mmengine counts validations in epochs or in iterations, and does not say which.
            scalars = {key: value for key, value in content.items() if key not in (*_POSITION, *_VALIDATION_TIMES)}
            named = {key if '/' in key else f'val/{key}': value for key, value in scalars.items()}
            rows.append({'iter': rows[-1]['iter'], **_numbers(named)})


def _numbers(content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among the values; hierarchical names lose their 'train/'."""
    row = {key.removeprefix('train/'): value for key, value in content.items() if isinstance(value, int | float)}
    # COCO's word for: there is no object of that size.
    row = {key: math.nan if value == -1 and is_of_validation(key) else value for key, value in row.items()}
    if row.get('time'):
        row['iterations_per_second'] = 1 / row['time']
    return row


def running_mean(iterations: np.ndarray, values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the finite values logged in the last `window` iterations up to each point.

    Args:
        iterations: (n,), ascending.
        values: (n,).
        window: In iterations.

    Returns:
        (n,); NaN where no value in the window is finite.
    """
    finite = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    begin = np.searchsorted(iterations, iterations - window, side='right')
    end = np.searchsorted(iterations, iterations, side='right')
    number = counts[end] - counts[begin]
    return np.where(number > 0, (sums[end] - sums[begin]) / np.maximum(number, 1), np.nan)


def means_by_stretch(log: TrainingLog, names: Sequence[str], length: int) -> dict[str, list[float]]:
    """Mean of the values logged in each stretch of `length` iterations, the last one left out unless it is whole.

    A stretch in which a scalar was not logged repeats nothing: it is left out of that scalar's list.
    """
    means: dict[str, list[float]] = {}
    steps = np.diff(sorted({row['iter'] for row in log.rows}))
    # An interval of the log that does not divide the epoch leaves its last iterations out.
    whole = int(log.last_iteration + (np.median(steps) - 1 if len(steps) else 0)) // length
    for name in names:
        iterations, values = log.points(name)
        stretch = (iterations.astype(int) - 1) // length
        means[name] = [float(values[stretch == k].mean()) for k in range(max(whole, 1)) if (stretch == k).any()]
    return means
