"""`--dataset FILE`: the data part of one config laid over any other.

The data config brings loaders (with batch size, workers and pipelines), evaluators and class names; model, schedule and
runtime stay. `num_classes` of every head follows the class names; a category graph from the folder of the old data is
looked for in that of the new.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.logging import print_log

_KEYS = tuple(f'{split}_{part}' for split in ('train', 'val', 'test') for part in ('dataloader', 'evaluator'))


def class_names(dataset: dict[str, Any]) -> tuple[str, ...]:
    """Class names of a data set config: its `metainfo`, else those its class is born with.

    Args:
        dataset: Config of a data set, possibly wrapped (`RepeatDataset`, `ConcatDataset`, ...).

    Returns:
        The names in order.

    Raises:
        ValueError: Neither the config nor the class names any.
    """
    while 'type' in dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    names = (dataset.get('metainfo') or {}).get('classes')
    if names is None:
        names = getattr(DATASETS.get(dataset['type']), 'METAINFO', {}).get('classes')
    if isinstance(names, str):
        names = (names,)
    if not names:
        raise ValueError(f'The data set {dataset["type"]} names no classes; set metainfo=dict(classes=(...)) in it.')
    return tuple(names)


def _heads(node: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every dict with `num_classes` below a node; an RPN is left alone, its one class is 'object'."""
    if isinstance(node, dict):
        if 'num_classes' in node and not path.endswith('rpn_head'):
            yield path, node
        for key, child in node.items():
            yield from _heads(child, f'{path}.{key}')
    elif isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            yield from _heads(child, f'{path}.{index}')


def _data_root(cfg: Config) -> str | None:
    """Folder of the first data set of a config, as it is written there."""
    dataset = (cfg.get('train_dataloader') or cfg.get('test_dataloader') or {}).get('dataset') or {}
    while 'data_root' not in dataset and ('dataset' in dataset or 'datasets' in dataset):
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset.get('data_root') or None


def _move_graphs(node: Any, old: Path, new: Path) -> Iterator[str]:
    """Look for every `graph=PATH` below `old` at the same place below `new`; gives the new paths."""
    if isinstance(node, dict):
        graph = node.get('graph')
        if isinstance(graph, str) and Path(graph).is_relative_to(old):
            node['graph'] = str(new / Path(graph).relative_to(old))
            yield node['graph']
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _move_graphs(child, old, new)


def overlay_dataset(cfg: Config, data: Config) -> list[str]:
    """Lay loaders, evaluators and classes of a data config over a config, in place.

    The data config's loaders win with everything in them, the batch size too: it depends on the pictures. A changed
    batch size is said, because the learning rate of `cfg` was chosen for the old one.

    Args:
        cfg: Config with a model; changed in place.
        data: Config with `{train,val,test}_{dataloader,evaluator}` as far as `cfg` has them.

    Returns:
        Dotted paths of the heads whose `num_classes` was set.

    Raises:
        ValueError: The data config lacks a loader or evaluator, or the model has no head with `num_classes`.
    """
    missing = [key for key in _KEYS if cfg.get(key) is not None and data.get(key) is None]
    if missing or data.get('test_dataloader') is None:
        lacking = ', '.join(missing) or 'test_dataloader'
        raise ValueError(f'The data config {data.filename} lacks {lacking}; add it there, or choose another --dataset.')
    batch = (cfg.get('train_dataloader') or {}).get('batch_size')
    old_root, new_root = _data_root(cfg), _data_root(data)
    for key in _KEYS:
        if data.get(key) is not None:
            cfg[key] = data[key]
    loader = cfg.get('train_dataloader') or cfg['test_dataloader']
    names = class_names(loader['dataset'])
    heads = list(_heads(cfg['model'], 'model'))
    if not heads:
        raise ValueError(
            f"No dict below 'model' in {cfg.filename} has num_classes, so --dataset cannot fit the model to "
            f'{len(names)} classes; write num_classes into its head.'
        )
    for _, head in heads:
        head['num_classes'] = len(names)
    print_log(f'--dataset {data.filename}: {len(names)} classes in {", ".join(path for path, _ in heads)}', 'current')
    if old_root and new_root:
        for graph in dict.fromkeys(_move_graphs(cfg['model'], Path(old_root), Path(new_root))):
            print_log(f'--dataset: the category graph is now {graph}', 'current')
    if batch is not None and loader.get('batch_size') != batch:
        print_log(
            f'--dataset: the batch size per rank is now {loader.get("batch_size")} (it was {batch}); '
            '--auto-scale-lr scales the learning rate with it.',
            'current',
        )
    return [path for path, _ in heads]
