"""Checks data and model of a config before a Runner is built, where mmdet's own failures are late or unclear."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from mmengine.config import Config
from mmengine.logging import print_log

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.class_checks import check_class_list, check_num_classes
from mmdet_ext.datasets.image_checks import ImageScope
from mmdet_ext.datasets.problems import Problem, listing

from .class_counts import config_class_counts
from .dataset_spec import (
    DatasetSpec,
    Split,
    check_dataset,
    check_eval_pipeline,
    check_exists,
    check_mask_pipeline,
    dataset_specs,
)
from .part_check import check_batch_augments, check_parts


def check_config(
    cfg: Config, images: ImageScope = 'sample', num_images: int = 200, splits: Sequence[Split] = get_args(Split)
) -> list[Problem]:
    """Check everything that a config says about data: files, images, class names, heads, masks, evaluation pipelines.

    Args:
        cfg: Config of mmdet; nothing in it is built or changed.
        images: Which images to decode, see `check_images`.
        num_images: Size of the sample of images per data set.
        splits: Loaders to look at; `('test',)` for a test run.

    Returns:
        The problems, each once, in the order of the loaders.
    """
    specs = []
    problems: list[Problem] = []
    for split in splits:
        loader = cfg.get(f'{split}_dataloader')
        if isinstance(loader, Mapping) and isinstance(loader.get('dataset'), Mapping):
            specs += dataset_specs(loader['dataset'], f'{split}_dataloader.dataset', split)
        problems += _check_evaluators(cfg.get(f'{split}_evaluator'), f'{split}_evaluator', specs)
    for head in list(_mask_heads(cfg.get('model'), 'model'))[:1]:
        problems += [problem for spec in specs for problem in check_mask_pipeline(spec, head)]
    problems += check_batch_augments(cfg.get('model'), specs)
    counts = list(config_class_counts(cfg.get('model')))
    return unique([*check_specs(specs, counts, images, num_images), *problems])


def check_specs(
    specs: Sequence[DatasetSpec], counts: Sequence[tuple[str, int]], images: ImageScope, num_images: int
) -> list[Problem]:
    """Check data sets, and the heads of a model against them.

    Args:
        specs: Data sets of all loaders.
        counts: `num_classes` of every head with its name.
        images: Which images to decode, see `check_images`.
        num_images: Size of the sample of images per data set.
    """
    problems: list[Problem] = []
    seen: set[tuple[str, str, str]] = set()
    first = next((spec for spec in specs if _names(spec)), None)
    for spec in specs:
        # Most configs test on the validation set: read it once.
        key = (spec.ann_file, repr(sorted(spec.data_prefix.items())), repr(spec.classes))
        if key not in seen:
            problems += check_dataset(spec, images, num_images)
            seen.add(key)
        if spec.split != 'train':
            problems += check_eval_pipeline(spec)
        problems += check_parts(spec)
        if first is None or not _names(spec):
            continue
        if 'other' not in (spec.style, first.style) and _names(spec) != _names(first):
            ours, theirs = listing(_names(spec)), listing(_names(first))
            message = f'the class names ({ours}) differ from those of {first.where} ({theirs})'
            message += '; give every loader the same `metainfo`'
            problems.append(Problem('error', spec.where, message))
        else:
            things = spec.metainfo.get('thing_classes')
            allowed = [len(_names(spec)), *([len(things)] if things else [])]
            problems += check_num_classes(counts, allowed, first.where)
    return unique(problems)


def unique(problems: Iterable[Problem]) -> list[Problem]:
    """The problems without repetitions, in their order."""
    return list(dict.fromkeys(problems))


def raise_on_problems(problems: Sequence[Problem], limit: int = 10, strict: bool = True) -> None:
    """Log the warnings and fail on the errors.

    Args:
        problems: Result of a check.
        limit: Number of errors to spell out.
        strict: False logs errors like warnings.

    Raises:
        ValueError: With one sentence per error, where there are errors.
    """
    errors = [problem for problem in problems if problem.severity == 'error' and strict]
    for problem in problems:
        if problem not in errors:
            print_log(str(problem), logger='current', level=logging.WARNING)
    if errors:
        more = f'\n- and {len(errors) - limit} more' if len(errors) > limit else ''
        sentences = '\n'.join(f'- {error}' for error in errors[:limit])
        raise ValueError(f'the data or the config cannot be used as they are:\n{sentences}{more}')


def _names(spec: DatasetSpec) -> list[str]:
    """Class names, where they are a proper list."""
    return [] if spec.classes is None or check_class_list(spec.classes, '') else list(spec.classes)


def _mask_heads(node: Any, where: str) -> Iterator[str]:
    """Config keys of the mask heads of a model that learn from annotated masks."""
    # BoxInst makes its masks from boxes.
    if isinstance(node, Mapping) and node.get('type') != 'BoxInst':
        for key, child in node.items():
            if key == 'mask_head' and child:
                yield f'{where}.{key}'
            yield from _mask_heads(child, f'{where}.{key}')


def _check_evaluators(node: Any, where: str, specs: Sequence[DatasetSpec]) -> list[Problem]:
    """Check the annotation file of each metric that has one; mmdet's CocoMetric does not join it with `data_root`."""
    metrics = node if isinstance(node, list | tuple) else [node]
    problems = []
    for metric in metrics:
        path = metric.get('ann_file') if isinstance(metric, Mapping) else None
        if not isinstance(path, str) or any(path == spec.ann_file for spec in specs):
            continue
        missing = check_exists(path, f'{where}.ann_file')
        problems += missing
        if not missing and '://' not in path and metric.get('type') == 'CocoMetric' and specs:
            names = _names(specs[-1]) or None
            labelled = not metric.get('format_only', False)
            problems += check_coco(path, names, origin=f'`{specs[-1].where}.metainfo`', labelled=labelled)
    return problems
