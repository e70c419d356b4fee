"""Curves of every scalar that trainings have logged, and what their losses say in plain words."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.engine.hooks.loss_alarm_hook import MIN_ITERATIONS
from mmdet_ext.engine.loss_alarms import TOTAL, Alarm, check_options, find_alarms, loss_terms, shares

from ..report import format_number
from ..tables import markdown_table, write_csv
from .loss_curves_plot import plot_loss_curves
from .training_log import TrainingLog, is_noisy, is_of_validation, means_by_stretch, read_training_log, running_mean

_print = partial(print, flush=True)
# Without epochs in the log a training is cut into this many stretches.
_STRETCHES = 20


def run_loss_curves(
    work_dirs: Sequence[str | Path],
    *,
    out: str | Path | None = None,
    interval: int | None = None,
    epochs: int = 5,
    min_change: float = 0.01,
    share: float = 0.9,
    say: Callable[[str], None] = _print,
) -> dict[str, list[str]]:
    """Write `loss_curves.{png,csv,md}` for one or several trainings and say what is wrong with their losses.

    Sentences and table are of means over an epoch, or over `interval` iterations: the value of one iteration is noise.
    The curves are running means over as much, at most a tenth of the training, with the values behind them. What
    mmengine logs is itself a mean, of the last `log_processor.window_size` iterations before the line.

    Args:
        work_dirs: See `read_training_log`.
        out: Folder for the files; default `loss_curves/` in the first work directory.
        interval: Length of a stretch in iterations. Default: an epoch, at least `MIN_ITERATIONS` iterations; of a log
            without epochs a twentieth of the training.
        epochs: As of `LossAlarmHook`.
        min_change: As of `LossAlarmHook`.
        share: As of `LossAlarmHook`.
        say: Prints a line for the user.

    Returns:
        Name of each training to its sentences.

    Raises:
        FileNotFoundError: A log is not there.
        ValueError: A log is damaged, or an option is out of its range.
    """
    if interval is not None and interval < 1:
        raise ValueError(f'interval must be at least 1 iteration, got {interval}')
    check_options('loss curves', epochs, min_change, share)
    logs = [read_training_log(folder, name) for folder, name in zip(work_dirs, _names(work_dirs), strict=True)]
    first = Path(work_dirs[0])
    folder = Path(out) if out is not None else (first if first.is_dir() else first.parent) / 'loss_curves'
    lengths = [interval or stretch_length(log) for log in logs]
    verdicts = {}
    parts = []
    for log, length in zip(logs, lengths, strict=True):
        verdicts[log.name] = judge(log, length, epochs=epochs, min_change=min_change, share=share)
        sentences = '\n'.join(f'- {sentence}' for sentence in verdicts[log.name])
        parts.append(f'## {log.name}\n\n{sentences}\n\n{format_means(log, length)}\n')
    names = _sorted_names(logs)
    # A window that is long beside the training would hide how it began.
    windows = [max(1, min(length, log.last_iteration // 10)) for log, length in zip(logs, lengths, strict=True)]
    plot_loss_curves(logs, names, windows, folder / 'loss_curves.png')
    write_csv(folder / 'loss_curves.csv', *_columns(logs, names, windows))
    (folder / 'loss_curves.md').write_text('\n'.join(parts), encoding='utf-8')
    say('\n'.join(parts))
    say(f'Curves and numbers: {folder}/loss_curves.png, .csv, .md')
    return verdicts


def stretch_length(log: TrainingLog) -> int:
    """Iterations over which means are taken, see `run_loss_curves`."""
    return max(log.epoch_length or log.last_iteration // _STRETCHES, MIN_ITERATIONS)


def judge(log: TrainingLog, length: int, **options: Any) -> list[str]:
    """What the rules of `loss_alarms` say of a training, each cause once, with how often it held.

    Args:
        log: The training.
        length: Of a stretch, in iterations.
        options: Of `find_alarms`.
    """
    trained = [name for name in log.names if not is_of_validation(name)]
    losses = [name for name in trained if name == TOTAL or name in loss_terms(trained)]
    if TOTAL not in losses:
        return [*log.notes, f"The log has no total ('{TOTAL}'), so nothing can be said about it."]
    means = means_by_stretch(log, losses, length)
    count = len(means[TOTAL])
    unit = 'epochs' if length == log.epoch_length else f'stretches of {length} iterations'
    first: dict[tuple[str, str], Alarm] = {}
    held: dict[tuple[str, str], list[int]] = {}
    for number in range(1, count + 1):
        stretch = (
            f'epoch {number}' if unit == 'epochs' else f'iterations {(number - 1) * length + 1} to {number * length}'
        )
        for alarm in find_alarms({name: values[:number] for name, values in means.items()}, stretch, unit, **options):
            first.setdefault(alarm.key, alarm)
            held.setdefault(alarm.key, []).append(number)
    sentences = list(log.notes)
    for key, alarm in first.items():
        often = f'{len(held[key])} of {count} {unit}' + (', the last one too' if held[key][-1] == count else '')
        sentences.append(f'{alarm.message} (So it was at the end of {often}.)')
    if not first:
        begin, end = means[TOTAL][0], means[TOTAL][-1]
        sentences.append(f'No alarm: {TOTAL} went from {begin:.4g} to {end:.4g} in {count} {unit}.')
    return sentences


def format_means(log: TrainingLog, length: int) -> str:
    """A row for each scalar: means of the first and the last stretch, extremes, share of the total at the end."""
    means = means_by_stretch(log, log.names, length)
    part = shares({name: values[-1] for name, values in means.items() if values and not is_of_validation(name)})
    rows = []
    for name, values in means.items():
        finite = log.points(name)[1]
        finite = finite[np.isfinite(finite)]
        if values and len(finite):
            cells = [f'{value:.4g}' for value in (values[0], values[-1], finite.min(), finite.max())]
            rows.append([name, *cells, format_number(part[name], 2) if name in part else ''])
    head = ['scalar', f'first {length} iterations', f'last {length}', 'lowest', 'highest', 'share of the total']
    return markdown_table(head, rows)


def _names(work_dirs: Iterable[str | Path]) -> list[str]:
    """Names of the folders, or whole paths where two have the same name."""
    short = [Path(folder).resolve().name for folder in work_dirs]
    return short if len(set(short)) == len(short) else [str(folder) for folder in work_dirs]


def _sorted_names(logs: Sequence[TrainingLog]) -> list[str]:
    """The total, its terms, everything else; metrics of the validation last."""
    names = list(dict.fromkeys(name for log in logs for name in log.names))
    terms = loss_terms(names)

    def rank(name: str) -> int:
        return 3 if is_of_validation(name) else 0 if name == TOTAL else 1 if name in terms else 2

    return sorted(names, key=rank)


def _columns(logs: Sequence[TrainingLog], names: Sequence[str], windows: Sequence[int]) -> tuple[list[str], list[Any]]:
    """Head and rows of the CSV: what was logged, and beside it the running mean."""
    noisy = [name for name in names if is_noisy(name)]
    rows = []
    for log, window in zip(logs, windows, strict=True):
        means = {name: iter(running_mean(*log.points(name), window)) for name in noisy}
        for row in log.rows:
            cells = [row.get(name) for name in names]
            cells += [next(means[name]) if name in row else None for name in noisy]
            rows.append([log.name, int(row['iter']), row.get('epoch'), *cells])
    return ['run', 'iteration', 'epoch', *names, *(f'{name} (mean)' for name in noisy)], rows
