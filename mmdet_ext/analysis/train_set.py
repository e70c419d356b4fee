"""The training sets of a config, opened to be read: without augmentation, with what their pipelines load and resize."""

import contextlib
import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.engine.dataset_spec import DatasetSpec, Split, dataset_specs, option, transform_name, walk_pipeline

# What they make of a size is always the same.
_FIXED = ('Resize', 'FixScaleResize', 'FixShapeResize', 'ResizeShortestEdge')
_OTHER_SIZES = (
    'Crop', 'Expand', 'Mosaic', 'MixUp', 'Affine', 'Shift', 'Rotate', 'Shear', 'Translate', 'CopyPaste', 'InstaBoost',
    'Albu', 'AutoAugment', 'RandAugment', 'GeomTransform',
)  # fmt: skip


@dataclass(frozen=True)
class TrainSet:
    """One training set without its wrappers.

    Attributes:
        spec: What its config says.
        dataset: The data set as training filters it, without a pipeline.
        loads: Configs of the transforms that load the image.
        resizes: Configs of those that resize it; random ones and choices among them too.
        left_out: Names of others that change the sizes of boxes: crops, mosaics and the like.
        dropped: By image id, the annotations of the classes that the data set drops while it reads: how many as to be
            ignored, how many for boxes without a size (or outside the image). Known of COCO data sets only.
    """

    spec: DatasetSpec
    dataset: Any
    loads: list[Any]
    resizes: list[Any]
    left_out: list[str]
    dropped: Mapping[Any, tuple[int, int]] = field(default_factory=dict)


def open_train_sets(cfg: Config) -> list[TrainSet]:
    """Build every training set of a config; each counts once, however often a wrapper repeats it.

    Raises:
        FileNotFoundError: An annotation file is not there.
        ValueError: There is no training set, or none that is read as mmengine's are.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    node = (cfg.get('train_dataloader') or {}).get('dataset')
    specs = [] if node is None else dataset_specs(node, 'train_dataloader.dataset', 'train')
    leaves = [] if node is None else list(leaf_configs(node))
    if not specs or len(specs) != len(leaves):
        raise ValueError(
            f'{cfg.filename} has no training set that can be read: train_dataloader.dataset must be, or wrap, a data '
            'set of mmengine; --dataset FILE brings that of another config'
        )
    return [_open(spec, *leaf) for spec, leaf in zip(specs, leaves, strict=True)]


def leaf_configs(node: Any, outer: Sequence[Any] = ()) -> Iterator[tuple[Any, list[Any]]]:
    """Data set configs below wrappers, in the order of `dataset_specs`, and their pipelines with those of wrappers."""
    inner = option(node, 'datasets') or [option(node, 'dataset')]
    pipeline = [*(option(node, 'pipeline') or []), *outer]
    if inner == [None]:
        yield node, pipeline
    else:
        for child in inner:
            yield from leaf_configs(child, pipeline)


def _open(spec: DatasetSpec, leaf: Mapping[str, Any], pipeline: Sequence[Any]) -> TrainSet:
    if spec.ann_file and '://' not in spec.ann_file and not Path(spec.ann_file).exists():
        hint = ' '.join(spec.metainfo.get('source') or ['correct the path, or bring other data by --dataset FILE'])
        raise FileNotFoundError(f'{spec.where}: there is no annotation file {spec.ann_file}; {hint}')
    # A data set without a single image cannot be serialised.
    built = DATASETS.build({**leaf, 'pipeline': [], 'lazy_init': True, 'serialize_data': False})
    dropped: dict[Any, tuple[int, int]] = {}
    if spec.style == 'coco':
        parse = built.parse_data_info

        def counting(raw: dict) -> Any:
            info = parse(raw)
            mine = [ann for ann in raw['raw_ann_info'] if ann['category_id'] in built.cat_ids]
            ignored = sum(bool(ann.get('ignore')) for ann in mine)
            dropped[info['img_id']] = (ignored, len(mine) - ignored - len(info['instances']))
            return info

        built.parse_data_info = counting
    with contextlib.redirect_stdout(io.StringIO()):
        built.full_init()
    # Workers may get it pickled.
    vars(built).pop('parse_data_info', None)
    nodes = list(walk_pipeline(pipeline))
    names = dict.fromkeys(transform_name(node) for node in nodes)
    left_out = [name for name in names if any(part in name for part in _OTHER_SIZES)]
    return TrainSet(spec, built, list(filter(_loads_image, nodes)), keep_resizes(pipeline), left_out, dropped)


def loader_transforms(cfg: Config, split: Split) -> list[Any]:
    """Every transform of a loader's (first) data set and of its wrappers, nested ones too; none without the loader."""
    node = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    return [] if node is None else list(walk_pipeline(next(leaf_configs(node))[1]))


def _loads_image(node: Any) -> bool:
    name = transform_name(node)
    return name.startswith('Load') and 'Image' in name


def _is_resize(node: Any) -> bool:
    return 'Resize' in transform_name(node)


def _has_resize(nodes: Any) -> bool:
    if isinstance(nodes, list | tuple):
        return any(_has_resize(node) for node in nodes)
    return _is_resize(nodes) or _has_resize(option(nodes, 'transforms') or [])


def keep_resizes(nodes: Sequence[Any]) -> list[Any]:
    """Transforms that resize; of wrappers such as RandomChoice what is left with these alone in their branches."""
    kept: list[Any] = []
    for node in nodes:
        if isinstance(node, list | tuple):
            kept.append(keep_resizes(node))
        elif _is_resize(node):
            kept.append(node)
        elif isinstance(node, Mapping) and _has_resize(node):
            kept.append({**node, 'transforms': keep_resizes(node['transforms'])})
    return kept


class Resizer:
    """Sizes of images after the resizing transforms of a pipeline; nothing is decoded.

    Random transforms draw from the global generators of numpy and `random`, see `seeded`.

    Args:
        resizes: Configs of the transforms.
    """

    def __init__(self, resizes: Sequence[Any]) -> None:
        self.pipeline = Compose([TRANSFORMS.build(node) for node in resizes])
        fixed = all(transform_name(node) in _FIXED for node in resizes)
        self.known: dict[tuple[int, int], tuple[float, float]] | None = {} if fixed else None

    def __call__(self, width: int, height: int) -> tuple[float, float]:
        """Width and height of an image afterwards, without what a transform pads."""
        if not self.pipeline.transforms:
            return width, height
        if self.known is not None and (width, height) in self.known:
            return self.known[width, height]
        blank = np.zeros((height, width), np.uint8)
        # The shape of the image would tell the padding too; a box around the image is only scaled.
        frame = HorizontalBoxes(np.array([[0, 0, width, height]], np.float32))
        results = {'img': blank, 'img_shape': blank.shape, 'ori_shape': blank.shape, 'gt_bboxes': frame}
        corners = self.pipeline(results)['gt_bboxes'].tensor[0].tolist()
        size = (corners[2], corners[3])
        if self.known is not None:
            self.known[width, height] = size
        return size


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators of numpy and `random` start at a seed, and are afterwards as they were before."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002  (mmcv's transforms draw from it)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
