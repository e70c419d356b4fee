"""Work directories as trainings leave them, without a training."""

import json
from pathlib import Path
from typing import Any

from mmdet_ext.engine.hooks.run_record_hook import RECORD
from tests.test_analysis.test_ablation.ablation_case import VERSIONS
from tests.test_analysis.test_logs.log_case import train_line, write_log
from tests.tiny_coco import make_tiny_coco, tiny_config

START = '20260101_000000'


def write_config(folder: Path, data: Path, start: str = START, epochs: int = 3, more: str = '') -> Path:
    """The config of the tiny detector as mmengine dumps it at a start; `more` goes to its end."""
    if not (data / 'ann.json').exists():
        make_tiny_coco(data, n=2)
    paths = {'root': str(data), 'images': str(data / 'images'), 'ann': str(data / 'ann.json')}
    file = folder / start / 'vis_data' / 'config.py'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'{tiny_config(paths, epochs=epochs)}\n{more}\n')
    return file


def write_run(
    folder: Path,
    data: Path,
    maps: list[float],
    more: str = '',
    seed: int | None = 1,
    record: bool = True,
    epochs: int = 3,
) -> Path:
    """A training with a validation after each epoch of ten iterations.

    Args:
        folder: Work directory.
        data: Of the data set, made where it is not there.
        maps: mAP after each epoch; an epoch's val/loss is one minus that.
        more: End of the config.
        seed: In the record.
        record: Whether the training has written its record.
        epochs: As planned.
    """
    lines: list[dict[str, Any]] = []
    for epoch, value in enumerate(maps, start=1):
        lines.append(train_line(10 * epoch, epoch, loss=1 / epoch))
        metrics = {'coco/bbox_mAP': value, 'coco/bbox_mAP_50': value, 'coco/bbox_mAP_l': -1.0, 'coco/loss': 1 - value}
        lines.append({**metrics, 'step': epoch})
    write_log(folder, lines, START)
    write_config(folder, data, more=more, epochs=epochs)
    if record:
        write_record(folder, maps[-1], seed, 10 * len(maps))
    return folder


def write_record(folder: Path, value: float, seed: int | None = 1, iterations: int = 30, **changes: Any) -> None:
    """What `RunRecordHook` writes."""
    metrics = {'coco/bbox_mAP': value, 'coco/bbox_mAP_50': value, 'coco/bbox_mAP_l': -1.0}
    record = {'metrics': metrics, 'versions': VERSIONS, 'iterations': iterations, 'seed': seed, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(json.dumps(record))
