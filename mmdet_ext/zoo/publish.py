"""Checkpoints to hand on: the weights and what their user needs to know, in a file whose name holds its hash.

Unlike mmdet's `publish_model.py` this reads safely (mmdet's fails on every training checkpoint with torch >= 2.6), and
what it writes is read with `weights_only=True` by a torch that knows nothing of mmengine.
"""

import copy
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.visualization import get_palette
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import Tensor

from mmdet_ext.analysis.plain_values import plain
from mmdet_ext.engine.checkpoint import match_weights, read_checkpoint
from mmdet_ext.engine.dataset_spec import dataset_specs
from mmdet_ext.engine.launch import load_config
from mmdet_ext.utils.provenance import collect_versions, hash_file

PUBLISHED = re.compile(r'(?P<stem>.+)_(?P<time>\d{8}_\d{6})-(?P<hash>[0-9a-f]{8})\.pth')
_TIME = re.compile(r'\d{8}_\d{6}')
# Of the training; `time` is when the checkpoint was saved, so that publishing it again gives the same file.
_KEPT = ('epoch', 'iter', 'seed', 'time', 'mmengine_version')
# Where a training ran, which is nobody's business and nothing to anybody.
_PLACES = ('work_dir', 'load_from', 'resume', 'launcher')


def publish_model(
    checkpoint: str | Path, out: str | Path, config: str | Path | None = None, name: str | None = None
) -> Path:
    """Write `<name>_<YYYYmmdd_HHMMSS>-<first 8 hex digits of the file's sha256>.pth`.

    It holds `state_dict` (the moving average where the training had `EMAHook`, which saves it there) and `meta`:
    `dataset_meta` (classes, palette), `cfg` (text), `epoch`, `iter`, `seed`, `time`, `experiment_name`,
    `mmengine_version` of the training and `published_with` (versions). Optimiser, schedulers, message hub and the
    weights without average are left out. The file is there whole or not at all.

    Args:
        checkpoint: Of a training, or weights alone.
        out: Folder.
        config: What it was trained with: the weights are compared with its model, and `cfg`, and class names where
            the checkpoint has none, are taken from it.
        name: First part of the file name; default the config's name, else the one that the checkpoint remembers.

    Returns:
        The file.

    Raises:
        FileNotFoundError: The checkpoint or the config is not there.
        ValueError: `out` is no folder, the checkpoint cannot be read, has no weights, weights that are not finite or
            do not fit the config, or neither it nor a config tells its name or its classes.
    """
    out = Path(out)
    if out.suffix == '.pth' or out.is_file():
        raise ValueError(f'{out} is a file: OUT is the folder, the name is made of config, time and hash.')
    read = read_checkpoint(checkpoint)
    state = _weights(read, checkpoint)
    meta = read['meta'] if isinstance(read.get('meta'), Mapping) else {}
    cfg = None if config is None else _fitting_config(config, checkpoint, state)
    stem = name or (Path(config).stem if config is not None else _remembered_name(meta, checkpoint))
    when = str(meta.get('time', ''))
    if not _TIME.fullmatch(when):
        when = time.strftime('%Y%m%d_%H%M%S', time.localtime(Path(checkpoint).stat().st_mtime))
    kept = {key: plain(meta[key]) for key in _KEPT if key in meta} | {
        'experiment_name': f'{stem}_{when}',
        'dataset_meta': _dataset_meta(meta, cfg, checkpoint),
        'published_with': collect_versions(),
    }
    text = meta.get('cfg') if cfg is None else _text(cfg)
    content = {'meta': kept | ({} if text is None else {'cfg': str(text)}), 'state_dict': state}
    return _write(content, out, f'{stem}_{when}')


def check_published(file: str | Path) -> None:
    """Compare a published checkpoint with the hash in its name.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It has no hash in its name, or another content.
    """
    file = Path(file)
    match = PUBLISHED.fullmatch(file.name)
    if match is None:
        raise ValueError(
            f'{file} is no published checkpoint: its name must be NAME_YYYYmmdd_HHMMSS-HASH.pth; '
            'tools/model_converters/publish_model.py makes such a file.'
        )
    if not file.is_file():
        raise FileNotFoundError(f'There is no checkpoint {file}.')
    found = hash_file(file)[:8]
    if found != match['hash']:
        raise ValueError(
            f'{file} has other content than its name says (sha256 {found}..., not {match["hash"]}...): it was changed '
            'or cut off on its way; fetch or publish it again.'
        )


def _weights(read: Mapping[str, Any], checkpoint: str | Path) -> dict[str, Tensor]:
    found = read.get('state_dict', read)
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    if not tensors or ('state_dict' not in read and len(tensors) < len(read)):
        raise ValueError(f'{checkpoint} holds no weights (state_dict); there is nothing to publish.')
    broken = [key for key, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ValueError(
            f'{checkpoint}: {len(broken)} of {len(tensors)} tensors are not finite (first: {broken[0]}), the training '
            'has diverged; publish an earlier epoch.'
        )
    # A copy of its own: torch saves the whole storage that a tensor is a part of.
    return {key: value.detach().clone() for key, value in tensors.items()}


def _fitting_config(config: str | Path, checkpoint: str | Path, state: Mapping[str, Tensor]) -> Config:
    cfg = load_config(config)
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    # A detector writes into the config of its heads.
    match = match_weights(MODELS.build(copy.deepcopy(cfg.model)), {'state_dict': state})
    if not match.complete:
        raise ValueError(f'{match.summary(checkpoint)} Give the config that it was trained with, not {config}.')
    return cfg


def _remembered_name(meta: Mapping[str, Any], checkpoint: str | Path) -> str:
    remembered = re.sub(rf'_{_TIME.pattern}$', '', str(meta.get('experiment_name') or ''))
    if not remembered:
        raise ValueError(f'{checkpoint} does not say which config it is of: give --config.')
    return remembered


def _dataset_meta(meta: Mapping[str, Any], cfg: Config | None, checkpoint: str | Path) -> dict[str, Any]:
    # Weights of mmdet 2 have CLASSES alone.
    stored = meta.get('dataset_meta') or ({'classes': meta['CLASSES']} if 'CLASSES' in meta else {})
    if not stored and cfg is not None:
        specs = dataset_specs(cfg.train_dataloader.dataset, 'train_dataloader.dataset', 'train')
        stored = specs[0].metainfo if specs else {}
    found = {str(key).lower(): plain(value) for key, value in stored.items()}
    if not found.get('classes'):
        raise ValueError(f'{checkpoint} does not know the names of its classes: give --config.')
    found['classes'] = tuple(found['classes'])
    number = len(found['classes'])
    # A list of colours, each a tuple, is what mmdet's visualizer takes; without one it draws random colours.
    palette = found.get('palette')
    if not isinstance(palette, list) or len(palette) < number:
        palette = get_palette('random', number)
    found['palette'] = [tuple(map(int, colour)) for colour in palette]
    return found


def _text(cfg: Config) -> str:
    return Config({key: value for key, value in cfg.to_dict().items() if key not in _PLACES}).pretty_text


def _write(content: Mapping[str, Any], folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f'.{name}.{os.getpid()}.tmp'
    try:
        # A file, not its name, which torch would write into the archive: the hash would depend on it.
        with half.open('wb') as file:
            torch.save(content, file)
        target = folder / f'{name}-{hash_file(half)[:8]}.pth'
        os.replace(half, target)
    finally:
        half.unlink(missing_ok=True)
    return target
