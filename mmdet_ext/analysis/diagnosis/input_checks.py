"""Self-checks of what the config makes of images and of the batch: sizes, shapes, pixels, learning rate."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_ext.analysis.mean_std import check_preprocessor
from mmdet_ext.analysis.pixel_stats import measure_pixels
from mmdet_ext.analysis.train_set import Resizer, TrainSet, keep_resizes, open_train_sets, seeded

from .evidence import Check

SIZE_FACTOR, SHAPE_FACTOR = 1.5, 1.25
"""Test images may be larger or smaller than those of training, and their shape may differ, by these factors."""
BATCH_FACTOR, UNKNOWN_BATCH_FACTOR = 3.0, 10.0
"""The rate may be for a batch larger or smaller by these factors: where the number of processes is known, and where up
to eight must be expected."""
_IMAGES, _DRAWS = 16, 8


def check_inputs(cfg: Config, checkpoint: str | Path, num: int = 50) -> list[Check]:
    """The self-checks of inputs and batch.

    Args:
        cfg: The config.
        checkpoint: The weights; the record of the run is looked for beside them.
        num: Number of training images whose pixels are measured.
    """
    try:
        sets = open_train_sets(cfg)
    except (ValueError, FileNotFoundError) as error:
        lost = [Check(name, None, f'{error}.') for name in ('input_size', 'input_shape', 'pixels')]
        return [*lost, check_batch_size(cfg, checkpoint)]
    return [*check_sizes(cfg, sets), check_pixels(cfg, sets, num), check_batch_size(cfg, checkpoint)]


def check_sizes(cfg: Config, sets: Sequence[TrainSet]) -> list[Check]:
    """Compare what training and test make of the size and shape of training images; nothing is decoded."""
    names = ('input_size', 'input_shape')
    loader = cfg.get('val_dataloader') or cfg.get('test_dataloader') or {}
    dataset = loader.get('dataset') or {}
    while 'pipeline' not in dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    left_out = [name for part in sets for name in part.left_out]
    if left_out:
        return [
            Check(name, None, f'{left_out[0]} of the training pipeline changes sizes in its own way.') for name in names
        ]
    test = keep_resizes(dataset.get('pipeline') or [])
    first = sets[0].dataset
    infos = [first.get_data_info(int(place)) for place in np.linspace(0, len(first) - 1, min(_IMAGES, len(first)))]
    shapes = [(info['width'], info['height']) for info in infos if info.get('width') and info.get('height')]
    if not test or not sets[0].resizes or not shapes:
        return [Check(name, None, 'Training or test has no Resize to compare.') for name in names]
    with seeded(0):
        learnt = _scales(Resizer(sets[0].resizes), shapes * _DRAWS)
        shown = _scales(Resizer(test), shapes)
    size = float(np.exp(np.log(learnt).mean() - np.log(shown).mean()))
    shape = float(np.exp(np.median(np.log(shown[:, 0] / shown[:, 1])) - np.median(np.log(learnt[:, 0] / learnt[:, 1]))))
    sentence = (
        f'Training resizes images by a factor of {np.exp(np.log(learnt).mean()):.2f} on average, test by '
        f'{np.exp(np.log(shown).mean()):.2f}.'
    )
    stretched = (
        f'Test makes images {max(shape, 1 / shape):.2f} times {"wider" if shape > 1 else "taller"} in proportion.'
    )
    if max(shape, 1 / shape) < SHAPE_FACTOR:
        stretched = 'Training and test give images the same shape.'
    return [
        Check(
            'input_size',
            1 / SIZE_FACTOR <= size <= SIZE_FACTOR,
            sentence,
            {'ratio': size},
            'Give Resize of the test pipeline the `scale` of training.',
        ),
        Check(
            'input_shape',
            1 / SHAPE_FACTOR <= shape <= SHAPE_FACTOR,
            stretched,
            {'ratio': shape},
            'Give Resize of the test pipeline the `scale` and `keep_ratio` of training.',
        ),
    ]


def _scales(resizer: Resizer, shapes: Sequence[tuple[int, int]]) -> np.ndarray:
    """(n, 2) factors in x and y."""
    return np.array([np.divide(resizer(*shape), shape) for shape in shapes])


def check_pixels(cfg: Config, sets: Sequence[TrainSet], num: int) -> Check:
    """Compare mean, std and channel order of the data preprocessor with training images."""
    try:
        stats = measure_pixels(sets, num)
    except ValueError as error:
        return Check('pixels', None, f'{error}.')
    first, *notes = check_preprocessor(cfg, stats)
    # Centred pixels with std 1 are right for backbones from Caffe; the note has its place in the report.
    serious = [note for note in notes if not note.startswith('std 1 only centres')]
    if not first.startswith('mean ') and 'normalises nothing' in first:
        serious = [first, *serious]
    sentence = ' '.join([first, *notes]) if serious != [first] else first
    figures = {
        f'{part} {channel}': float(value)
        for part in ('mean', 'std')
        for channel, value in enumerate(getattr(stats, part))
    }
    return Check('pixels', not serious, sentence, figures, ' '.join(serious))


def check_batch_size(cfg: Config, checkpoint: str | Path) -> Check:
    """Compare the images per step with those the learning rate is for (`auto_scale_lr.base_batch_size`)."""
    scale: dict[str, Any] = dict(cfg.get('auto_scale_lr') or {})
    base, batch = scale.get('base_batch_size'), (cfg.get('train_dataloader') or {}).get('batch_size')
    if not base or not batch:
        return Check('batch_size', None, 'The config does not say which batch size its learning rate is for.')
    world = _world_size(Path(checkpoint).parent / 'run_record.json')
    accumulated = int((cfg.get('optim_wrapper') or {}).get('accumulative_counts', 1))
    whole = batch * (world or 1) * accumulated
    factor = whole / base
    limit = BATCH_FACTOR if world else UNKNOWN_BATCH_FACTOR
    fine = bool(scale.get('enable')) or 1 / limit <= factor <= limit
    sentence = (
        f'The learning rate is for {base} images per step; training has {whole}'
        f'{"" if world else " on each process"} (factor {factor:.2g}).'
    )
    rate = (cfg.get('optim_wrapper') or {}).get('optimizer', {}).get('lr')
    told = f' (then {rate * factor:.2g} instead of {rate:.2g})' if isinstance(rate, int | float) else ''
    fix = f'Train with --auto-scale-lr{told}, or set auto_scale_lr.base_batch_size to what the rate was chosen for.'
    return Check('batch_size', fine, sentence, {'batch': whole, 'base': base, 'factor': factor}, fix)


def _world_size(file: Path) -> int | None:
    """Number of processes of the training, by its record; None where that is missing or damaged."""
    try:
        record = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return record.get('world_size') if isinstance(record, dict) else None
