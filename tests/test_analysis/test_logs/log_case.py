"""Logs as mmengine writes them, without a training."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.tiny_coco import tiny_run


def train_line(iteration: int, epoch: int | None = None, **scalars: float) -> dict[str, Any]:
    """A line of the training."""
    position = {} if epoch is None else {'epoch': epoch}
    return {'lr': 0.01, 'time': 0.5, **scalars, **position, 'iter': iteration, 'step': iteration}


def write_log(work_dir: Path, lines: Iterable[Mapping[str, Any] | str], start: str = '20260101_000000') -> Path:
    """Write the log of one start below a work directory; returns the file."""
    file = work_dir / start / 'vis_data' / 'scalars.json'
    file.parent.mkdir(parents=True)
    file.write_text(''.join((line if isinstance(line, str) else json.dumps(line)) + '\n' for line in lines))
    return file


def write_epochs(work_dir: Path, losses: Mapping[str, list[float]], per_epoch: int = 50, logged: int = 2) -> Path:
    """A log with epochs of `per_epoch` iterations, `logged` lines each; a list has a value for every epoch."""
    lines = []
    for epoch in range(len(next(iter(losses.values())))):
        for part in range(1, logged + 1):
            iteration = epoch * per_epoch + part * (per_epoch // logged)
            values = {name: series[epoch] for name, series in losses.items()}
            lines.append(train_line(iteration, epoch + 1, **values))
        lines.append({'coco/bbox_mAP': 0.1 * epoch, 'coco/bbox_mAP_l': -1.0, 'time': 9.0, 'step': epoch + 1})
    return write_log(work_dir, lines)


def train_tiny(work_dir: Path) -> list[float]:
    """Train three epochs of two iterations with a log of its own; returns the loss of every iteration."""
    # mmengine keeps visualizers by name: with the shared one it would write into the log of another training.
    return tiny_run().train(work_dir=work_dir, cfg_options={'visualizer.name': str(work_dir)})[0]
