"""Checks of part boxes in a pipeline: the part file against the images, and transforms that parts cannot follow."""

import os
from collections.abc import Mapping
from typing import Any

import mmcv.transforms as mmcv_transforms
import mmdet.datasets.transforms as mmdet_transforms
from mmdet.registry import TRANSFORMS

from mmdet_ext.datasets.checks import load_object
from mmdet_ext.datasets.image_checks import Size
from mmdet_ext.datasets.part_file import check_part_names, read_part_file
from mmdet_ext.datasets.problems import Problem
from mmdet_ext.datasets.transforms import LandmarkAlbu
from mmdet_ext.datasets.transforms.part_geometry import mirrored_order

from .dataset_spec import DatasetSpec, option, transform_name

_MIXES = 'puts several images into one, each with parts of its own'
_MOVES = 'moves boxes and does not record how (`homography_matrix`), so parts would stay behind'
# Classes, with their subclasses, and what is wrong with them. CopyPaste leaves the image and its parts where they are.
_UNFIT = {
    mmdet_transforms.Mosaic: _MIXES,
    mmdet_transforms.CachedMosaic: _MIXES,
    mmdet_transforms.MixUp: _MIXES,
    mmdet_transforms.CachedMixUp: _MIXES,
    mmdet_transforms.RandomAffine: _MOVES,
    mmdet_transforms.RandomShift: _MOVES,
    mmdet_transforms.Expand: _MOVES,
    mmdet_transforms.MinIoURandomCrop: _MOVES,
    mmdet_transforms.RandomCenterCropPad: _MOVES,
    mmdet_transforms.Albu: _MOVES + ' (LandmarkAlbu does)',
    mmcv_transforms.CenterCrop: _MOVES,
    mmcv_transforms.Resize: _MOVES,
    mmcv_transforms.RandomFlip: _MOVES,
}
_FIT = (mmdet_transforms.Resize, mmdet_transforms.RandomFlip, LandmarkAlbu)
_BATCH = ('BatchSyncRandomResize', 'BatchResize')


def check_parts(spec: DatasetSpec) -> list[Problem]:
    """Check everything about parts in the pipeline of one data set; nothing where it loads none.

    Errors are LoadParts and PackPartInputs without each other, transforms that parts cannot follow, bad `part_names` or
    `swap_pairs`, and what `read_part_file` finds when it is asked for every image of a COCO data set.
    """
    where = f'{spec.where}.pipeline'
    names = [transform_name(node) for node in spec.pipeline]
    if 'LoadParts' not in names:
        fix = 'put LoadParts behind LoadImageFromFile'
        message = f'has PackPartInputs, but loads no parts; {fix}'
        return [Problem('error', where, message)] if 'PackPartInputs' in names else []
    problems = []
    if 'PackDetInputs' in names:
        message = 'loads parts, but PackDetInputs leaves them out; take PackPartInputs instead'
        problems.append(Problem('error', where, message))
    fix = "use mmdet's Resize, RandomFlip, RandomCrop, Rotate, Shear or Translate"
    for node in spec.pipeline:
        problems += [Problem('error', where, f'loads parts, but {fault}; {fix}') for fault in _unfit(node)]
    problems += _check_padding(spec.pipeline, where)
    loads = [node for node in spec.pipeline if transform_name(node) == 'LoadParts']
    packs = [node for node in spec.pipeline if transform_name(node) == 'PackPartInputs']
    try:
        part_names = check_part_names(option(loads[0], 'part_names', ()))
        for pack in packs:
            mirrored_order(part_names, option(pack, 'swap_pairs'))
    except ValueError as error:
        return [*problems, Problem('error', where, str(error))]
    part_file = option(loads[0], 'part_file')
    if part_file is None:
        return problems
    return problems + read_part_file(part_file, part_names, _images(spec), option(loads[0], 'missing') == 'invalid')[1]


def check_batch_augments(model: Any, specs: list[DatasetSpec]) -> list[Problem]:
    """Check that no batch augmentation of the model's preprocessor resizes images whose parts were packed before."""
    loaded = any(transform_name(node) == 'LoadParts' for spec in specs for node in spec.pipeline)
    augments = ((model or {}).get('data_preprocessor') or {}).get('batch_augments') or []
    names = [transform_name(node) for node in augments]
    message = 'resizes images and ground truth, but not parts; resize in the pipeline instead (RandomChoiceResize)'
    return [
        Problem('error', 'model.data_preprocessor.batch_augments', f'{name} {message}')
        for name in names
        if loaded and name in _BATCH
    ]


def _unfit(node: Any) -> list[str]:
    """What is wrong with a transform, or with the resizing that it wraps."""
    kinds = [node.get('type') if isinstance(node, Mapping) else type(node)]
    # RandomResize, RandomChoiceResize and ResizeShortestEdge build another transform.
    inner = option(node, 'resize_type') or type(option(node, 'resize'))
    faults = []
    for kind in [*kinds, inner]:
        cls: Any = TRANSFORMS.get(kind) if isinstance(kind, str) else kind
        if isinstance(cls, type) and not issubclass(cls, _FIT):
            reason = next((text for unfit, text in _UNFIT.items() if issubclass(cls, unfit)), None)
            faults += [f'{cls.__module__.split(".")[0]}.{cls.__name__} {reason}'] if reason else []
    return faults


def _check_padding(pipeline: Any, where: str) -> list[Problem]:
    """Warn of padding to another size behind a crop: a part that the crop has cut may reach into it."""
    crop = None
    for node in pipeline:
        if transform_name(node) == 'RandomCrop':
            crop = tuple(option(node, 'crop_size'))
        elif transform_name(node) == 'Pad' and crop and tuple(option(node, 'size') or ()) != crop:
            message = 'has Pad behind RandomCrop, so a part that the crop has cut may reach into the padding'
            message += '; pad in the data preprocessor, or give both the same size'
            return [Problem('warning', where, message)]
    return []


def _images(spec: DatasetSpec) -> dict[str, Size | None] | None:
    """Path and size of every image of a COCO data set; None where they are not known."""
    if spec.style != 'coco' or not spec.ann_file or '://' in spec.ann_file:
        return None
    data, _ = load_object(spec.ann_file, '', '')
    records = data.get('images')
    records = [r for r in records if isinstance(r, dict) and 'file_name' in r] if isinstance(records, list) else []
    folder = spec.data_prefix.get('img', '')
    sizes = [(r.get('width'), r.get('height')) for r in records]
    paths = [os.path.join(folder, str(r['file_name'])) for r in records]
    return {p: s if all(isinstance(v, int) for v in s) else None for p, s in zip(paths, sizes, strict=True)} or None
