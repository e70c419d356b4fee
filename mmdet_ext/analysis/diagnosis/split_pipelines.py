"""Pipelines of the diagnosis, put together from those that a config has for training and for test."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet_ext.engine.dataset_spec import transform_name

_SIZES = ('scale', 'scales', 'scale_factor', 'size')
_METAS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')


def make_pipelines(
    own: Sequence[Any], train: Sequence[Any], test: Sequence[Any], where: str
) -> tuple[list[Any], list[Any]]:
    """Configs of the transforms that load an image with its annotations, and of those that make an input of it.

    Args:
        own: Pipeline of the data set: it knows how to load its images.
        train: Pipeline of training: it knows what losses need.
        test: Pipeline of validation or test: it knows the size of the input.
        where: Config key of the data set.

    Raises:
        ValueError: The test pipeline pads by RandomCenterCropPad, or there is nothing that packs.
    """
    fits = [node for node in test if not transform_name(node).startswith(('Load', 'Pack'))]
    if any(transform_name(node) == 'RandomCenterCropPad' for node in fits):
        raise ValueError(
            f'{where}: test images are padded by RandomCenterCropPad (CornerNet, CenterNet), which moves an image '
            'without its boxes, so that there are no losses to look at; --dataset brings a pipeline with Resize and Pad'
        )
    loads = [node for node in own if transform_name(node).startswith('Load')]
    labels = [node for node in train if _loads_labels(node)] or [node for node in own if _loads_labels(node)]
    images = [node for node in loads if 'Image' in transform_name(node)]
    others = [node for node in loads if node not in images and 'Annotations' not in transform_name(node)]
    loads = [*images, *(labels or [dict(type='LoadAnnotations', with_bbox=True)]), *others]
    if any('Landmark' in transform_name(node) for node in loads):
        # mmdet's Resize leaves landmarks where they were.
        fits = [{**node, 'type': 'LandmarkResize'} if transform_name(node) == 'Resize' else node for node in fits]
    packs = [dict(node) for node in (*test, *train) if transform_name(node).startswith('Pack')]
    if not packs:
        raise ValueError(f'{where}: the pipeline has no PackDetInputs, with which every pipeline ends')
    keys = dict.fromkeys([*_METAS, *(key for pack in packs for key in pack.get('meta_keys', ()))])
    return loads, [*fits, {**packs[-1], 'meta_keys': tuple(keys)}]


def scale_sizes(nodes: Any, factor: float) -> Any:
    """Configs of transforms that resize to, and pad to, a multiple of their sizes."""
    if isinstance(nodes, list):
        return [scale_sizes(node, factor) for node in nodes]
    if not isinstance(nodes, Mapping):
        return nodes
    scaled = {key: scale_sizes(value, factor) if key == 'transforms' else value for key, value in nodes.items()}
    if 'Resize' in transform_name(nodes) or transform_name(nodes) == 'Pad':
        scaled |= {key: _times(nodes[key], factor) for key in _SIZES if nodes.get(key) is not None}
    return scaled


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_times(part, factor) for part in value)
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def _loads_labels(node: Any) -> bool:
    name = transform_name(node)
    return name.startswith('Load') and 'Annotations' in name and name != 'LoadEmptyAnnotations'
