"""What makes two trainings the same or comparable: the content of config and data, wherever the files lie."""

import functools
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_ext.engine.dataset_spec import Split, dataset_specs
from mmdet_ext.utils.provenance import hash_file

# Where it runs, and what differs between the seeds of an arm.
_LEFT_OUT = ('work_dir', 'launcher', 'randomness.seed')
# Hooks that look and do not touch; LossMonitorHook does unless it skips batches.
_OBSERVERS = (
    'ActivationStatsHook',
    'DatasetCheckHook',
    'GradientBalanceHook',
    'LossAlarmHook',
    'LossMonitorHook',
    'LossScopeHook',
    'RunRecordHook',
)
_PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.xml')


def config_identity(cfg: Config) -> dict[str, str]:
    """A config as dotted key to value; a path counts by the content of its file, and that of a folder not at all.

    Data that were moved, weights of another name, or hooks that only look leave it as it is; other weights in
    `load_from` do not.
    """
    content = cfg.to_dict()
    if content.get('custom_hooks'):
        content['custom_hooks'] = [
            hook
            for hook in content['custom_hooks']
            if hook.get('type') not in _OBSERVERS or hook.get('action') == 'skip'
        ]
    return {key: value for key, value in _flatten(content, '') if key not in _LEFT_OUT}


def evaluation_settings(identity: Mapping[str, str]) -> dict[str, str]:
    """The part of a config's identity that says how a detector is measured."""
    return {key: value for key, value in identity.items() if key.split('.')[0] == 'val_evaluator'}


def data_identity(cfg: Config) -> dict[str, str]:
    """Content of the data of training and validation: config key to a text with a hash.

    Annotation files by their content, folders of images by the names and sizes of what they hold.

    Raises:
        FileNotFoundError: A file or folder is not there.
    """
    found = {}
    splits: tuple[Split, ...] = ('train', 'val')
    for split in splits:
        dataset = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
        for spec in dataset_specs(dataset, f'{split}_dataloader.dataset', split):
            paths = {'ann_file': spec.ann_file} | {f'data_prefix.{key}': path for key, path in spec.data_prefix.items()}
            for key, path in paths.items():
                if path and '://' not in path:
                    found[f'{spec.where}.{key}'] = _describe(path, f'{spec.where}.{key}', spec.metainfo.get('source'))
    return found


def digest(identity: Mapping[str, str]) -> str:
    """One hash of it all."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def describe_difference(was: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """The first key that two identities differ in, as a phrase; None where they are the same."""
    keys = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
    if not keys:
        return None
    values = (was.get(keys[0], 'not there'), now.get(keys[0], 'not there'))
    more = f' (and {len(keys) - 1} more)' if len(keys) > 1 else ''
    return f'{keys[0]} is {values[0]} in one and {values[1]} in the other{more}'


def _flatten(node: Any, key: str) -> Iterator[tuple[str, str]]:
    children: Any = ()
    if isinstance(node, Mapping):
        children = node.items()
    elif isinstance(node, list | tuple):
        children = enumerate(node)
    elif isinstance(node, str) and '://' not in node:
        node = _without_place(node)
    if children:
        for name, child in children:
            yield from _flatten(child, f'{key}.{name}' if key else str(name))
    else:
        yield key, repr(node)


def _without_place(text: str) -> str:
    if '/' in text and os.path.isdir(text):
        return '<folder>'
    return f'<file {_hash_file(text)}>' if ('/' in text or '.' in text) and os.path.isfile(text) else text


def _describe(path: str, where: str, source: Sequence[str] | None) -> str:
    if os.path.isdir(path):
        return _hash_folder(path)
    if not os.path.isfile(path):
        hint = ' '.join(source) if source else 'docs/data.md says where the data of our configs are from.'
        raise FileNotFoundError(f'{where} is {path}, which is not there. {hint}')
    return f'{os.path.basename(path)} {_hash_file(path)}'


def _hash_file(path: str) -> str:
    status = os.stat(path)
    return _hash_version(path, status.st_mtime_ns, status.st_size)


@functools.cache
def _hash_version(path: str, *_: int) -> str:
    return hash_file(path)[:16]


@functools.cache
def _hash_folder(path: str) -> str:
    files = (file for file in Path(path).rglob('*') if file.suffix.lower() in _PICTURES)
    content = sorted((file.relative_to(path).as_posix(), file.stat().st_size) for file in files)
    return f'{len(content)} files {hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]}'
