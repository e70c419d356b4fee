"""Mean and standard deviation of a config's training images, and whether its data preprocessor fits them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_ext.engine.dataset_spec import transform_name
from mmdet_ext.engine.launch import load_config

from .pixel_stats import Floats, PixelStats, measure_pixels
from .tables import markdown_table
from .train_set import loader_transforms, open_train_sets

# What nearly all pretrained backbones of the model zoos were trained with, as red, green, blue.
_IMAGENET = np.array([123.675, 116.28, 103.53])
# Normalised pixels are far off where their mean is further from 0 than this, or their std from 1 by this factor.
_SHIFT, _FACTOR = 0.75, 2.5
_print = partial(print, flush=True)


def run_mean_std(
    config: str | Path,
    *,
    num: int | None = None,
    workers: int | None = None,
    seed: int = 0,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = _print,
) -> dict[str, Any]:
    """Measure the pixels of the training images and compare them with the config's data preprocessor.

    Args:
        config: Config with `train_dataloader`.
        num: See `measure_pixels`.
        workers: Processes that decode; None for as many as the config's loader has.
        seed: See `measure_pixels`.
        dataset: See `load_config`.
        cfg_options: See `load_config`.
        say: Prints a line for the user.

    Returns:
        `mean` and `std` (lists, in the order blue, green, red where images have three channels), `images`, `pixels`,
        `notes` (sentences on the data preprocessor).

    Raises:
        FileNotFoundError: Config or annotation file are not there.
        ValueError: See `open_train_sets` and `measure_pixels`.
    """
    cfg = load_config(config, dataset=dataset, cfg_options=cfg_options)
    sets = open_train_sets(cfg)
    workers = cfg.train_dataloader.get('num_workers', 0) if workers is None else workers
    stats = measure_pixels(sets, num, workers, seed)
    notes = check_preprocessor(cfg, stats)
    say(f'{stats.images} images, {stats.pixels} pixels')
    say(f'\n{format_stats(stats)}\n')
    for note in notes:
        say(f'- {note}')
    return {
        'mean': stats.mean.tolist(),
        'std': stats.std.tolist(),
        'images': stats.images,
        'pixels': stats.pixels,
        'notes': notes,
    }


def format_stats(stats: PixelStats) -> str:
    """A Markdown table of mean and std: in both orders of the channels, for pixels from 0 to 255 and from 0 to 1."""
    orders = {'RGB (bgr_to_rgb=True)': slice(None, None, -1), 'BGR (bgr_to_rgb=False)': slice(None)}
    if len(stats.mean) != 3:
        orders = {'as loaded': slice(None)}
    # Float images may already be from 0 to 1, others have 16 bits.
    scales = {'0 to 255': 1.0, '0 to 1': 255.0}
    if stats.high <= 1:
        scales = {'0 to 255': 1 / 255, '0 to 1 (as loaded)': 1.0}
    elif stats.high > 255:
        scales = {f'0 to {stats.high:g} (as loaded)': 1.0}
    rows = [
        [order, scale, spell(stats.mean[rows] / by), spell(stats.std[rows] / by)]
        for scale, by in scales.items()
        for order, rows in orders.items()
    ]
    return markdown_table(['order', 'pixels', 'mean', 'std'], rows)


def spell(values: Floats | Sequence[float]) -> str:
    """A list of six significant digits each, to be copied into a config."""
    return f'[{", ".join(f"{value:.6g}" for value in values)}]'


def check_preprocessor(cfg: Config, stats: PixelStats) -> list[str]:
    """Compare the data preprocessor of a config with the pixels it will get.

    Returns:
        Sentences: what its mean and std make of the pixels, and what is wrong with them (order, scale, far-off values).
    """
    node: Any = (cfg.get('model') or {}).get('data_preprocessor') or {}
    # MultiBranchDataPreprocessor and the like hold another.
    while isinstance(node.get('data_preprocessor'), Mapping):
        node = node['data_preprocessor']
    notes = []
    if any(transform_name(t) == 'Normalize' for t in loader_transforms(cfg, 'train')) and node.get('mean') is not None:
        notes.append(
            'The training pipeline has a Normalize, and the data preprocessor normalises once more; leave one of them '
            'out.'
        )
    if node.get('mean') is None or node.get('std') is None:
        text = f'The data preprocessor normalises nothing: pixels reach the model as they are (up to {stats.high:g}).'
        return [*notes, f'{text} {_advice(node, stats)}']
    mean, std = (np.array(node[key], np.float64).reshape(-1) for key in ('mean', 'std'))
    if {len(mean), len(std)} - {1, len(stats.mean)}:
        return [*notes, f'mean and std have {len(mean)} and {len(std)} values, the images {len(stats.mean)} channels.']
    if (std <= 0).any() or not np.isfinite([*mean, *std]).all():
        return [*notes, f'std must be above 0, and mean and std finite, got mean {spell(mean)} and std {spell(std)}.']
    flipped = bool(node.get('bgr_to_rgb') or node.get('rgb_to_bgr')) and len(stats.mean) == 3
    order = slice(None, None, -1) if flipped else slice(None)
    seen_mean, seen_std = stats.mean[order], stats.std[order]
    normal_mean, normal_std = (seen_mean - mean) / std, seen_std / std
    notes.append(
        f'mean {spell(mean)}, std {spell(std)}, bgr_to_rgb={bool(node.get("bgr_to_rgb"))} make of the training pixels '
        f'a mean of {_short(normal_mean)} and a std of {_short(normal_std)}.'
    )
    if stats.high > 1 and 0 < mean.max() <= 1 and std.max() <= 1:
        text = 'mean and std look as if for pixels from 0 to 1, but mmdet leaves them from 0 to 255: multiply by 255.'
        return [*notes, f'{text} {_advice(node, stats)}']
    if stats.high <= 1 and mean.max() > 1:
        return [*notes, f'mean is for pixels from 0 to 255, but the images are from 0 to 1. {_advice(node, stats)}']
    swapped = _swapped(mean, stats, flipped)
    if swapped:
        notes.append(swapped)
    caffe = bool((std == 1).all())
    far = bool((np.abs(seen_mean - mean) > _SHIFT * seen_std).any())
    if caffe:
        notes.append(
            'std 1 only centres the pixels, as backbones converted from Caffe want it; for any other backbone take a '
            f'real std (measured: {spell(seen_std)}).'
        )
    else:
        far = far or bool((np.maximum(normal_std, 1 / np.maximum(normal_std, 1e-12)) > _FACTOR).any())
    if far and not swapped:
        notes.append(
            'These are far from the measured values: right for a pretrained backbone that was trained with them, else '
            f'not. {_advice(node, stats)}'
        )
    return notes


def _swapped(mean: Floats, stats: PixelStats, flipped: bool) -> str | None:
    """A sentence if red and blue look exchanged: by the mean of ImageNet, else by the measured one."""
    if len(mean) != 3 or len(stats.mean) != 3:
        return None
    name, other = ('True', 'BGR') if flipped else ('False', 'RGB')
    expected = _IMAGENET if flipped else _IMAGENET[::-1]
    text = f'mean is in the order {other}, but with bgr_to_rgb={name} the channels come the other way round; '
    fix = f'write bgr_to_rgb={not flipped}, or turn mean and std round.'
    if np.abs(mean - expected[::-1]).max() < 1:
        return f"ImageNet's {text}{fix}"
    if np.abs(mean - expected).max() < 1:
        return None
    seen = stats.mean[::-1] if flipped else stats.mean
    here, there = np.abs(mean - seen).max(), np.abs(mean[::-1] - seen).max()
    # Grey pictures have no order.
    return f'It seems that {text}{fix}' if there < 0.25 * here and here > 5 else None


def _advice(node: Mapping[str, Any], stats: PixelStats) -> str:
    if len(stats.mean) != 3:
        return f'From scratch: mean={spell(stats.mean)}, std={spell(stats.std)}.'
    flipped = bool(node.get('bgr_to_rgb', True))
    order = slice(None, None, -1) if flipped else slice(None)
    return f'From scratch: mean={spell(stats.mean[order])}, std={spell(stats.std[order])}, bgr_to_rgb={flipped}.'


def _short(values: Floats) -> str:
    return ', '.join(f'{value:.2f}' for value in values).replace('-0.00', '0.00')
