"""What a check has to know about a data set, read from its config or from the built object."""

import inspect
import os.path as osp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from mmdet.datasets import CocoDataset, XMLDataset
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.dataset import BaseDataset
from mmengine.utils import is_abs

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.class_checks import check_class_list
from mmdet_ext.datasets.image_checks import ImageScope
from mmdet_ext.datasets.problems import Problem
from mmdet_ext.datasets.voc_checks import check_voc

Split = Literal['train', 'val', 'test']
_PACKS = ('PackDetInputs', 'PackLandmarkInputs', 'PackPartInputs')


@dataclass(frozen=True)
class DatasetSpec:
    """One data set without its wrappers.

    Args:
        where: Config key, such as 'train_dataloader.dataset.datasets[0]'.
        split: Which loader it belongs to.
        cls: Data set class.
        ann_file: Annotation file, joined with `data_root`.
        data_prefix: Folders, joined with `data_root`.
        metainfo: Merged as mmengine does: the class's METAINFO below the config's `metainfo`.
        has_metainfo: Whether the config names the classes (else they are the class's default).
        pipeline: Transform configs or objects.
        subdirs: `ann_subdir` and `img_subdir` of a VOC data set.
    """

    where: str
    split: Split
    cls: type
    ann_file: str
    data_prefix: dict[str, str]
    metainfo: dict[str, Any]
    has_metainfo: bool
    pipeline: Sequence[Any]
    subdirs: tuple[str, str]

    @property
    def style(self) -> Literal['coco', 'voc', 'other']:
        """Whether it reads its files as mmdet's CocoDataset or XMLDataset does."""
        loads = getattr(self.cls, 'load_data_list', None)
        if loads is CocoDataset.load_data_list:
            return 'coco'
        return 'voc' if loads is XMLDataset.load_data_list else 'other'

    @property
    def classes(self) -> Any:
        """Class names, or None where the data set has none."""
        return self.metainfo.get('classes')


def option(node: Any, key: str, default: Any = None) -> Any:
    """Value of a config key or of an object's attribute."""
    return node.get(key, default) if isinstance(node, Mapping) else getattr(node, key, default)


def dataset_specs(node: Any, where: str, split: Split) -> list[DatasetSpec]:
    """Data sets below a config or object, through any wrapper that holds `dataset` or `datasets`.

    A config whose type is not registered or is no mmengine data set gives nothing: the Runner names it itself.
    """
    inner = option(node, 'datasets')
    if inner is not None:
        return [s for i, child in enumerate(inner) for s in dataset_specs(child, f'{where}.datasets[{i}]', split)]
    inner = option(node, 'dataset')
    if inner is not None:
        # MultiImageMixDataset has a pipeline of its own, which goes on where that of its data set ends.
        outer = list(walk_pipeline(option(node, 'pipeline')))
        specs = dataset_specs(inner, f'{where}.dataset', split)
        return [replace(spec, pipeline=[*spec.pipeline, *outer]) for spec in specs]
    named = node.get('type') if isinstance(node, Mapping) else type(node)
    cls: Any = DATASETS.get(named) if isinstance(named, str) else named
    if not (inspect.isclass(cls) and BaseDataset in cls.__mro__):
        return []
    merge: Any = cls._load_metainfo  # type: ignore[attr-defined]
    root, ann_file = option(node, 'data_root') or '', option(node, 'ann_file') or ''
    given = option(node, 'metainfo')
    built = not isinstance(node, Mapping)
    prefix = {key: _join(root, value) for key, value in (option(node, 'data_prefix') or {}).items()}
    return [
        DatasetSpec(
            where=where,
            split=split,
            cls=cls,
            ann_file=_join(root, ann_file) if ann_file and not built else ann_file,
            data_prefix=dict(node.data_prefix) if built else prefix,
            metainfo=node.metainfo if built else merge(given),
            has_metainfo=built or bool(given and 'classes' in given),
            pipeline=list(walk_pipeline(option(node, 'pipeline'))),
            subdirs=(option(node, 'ann_subdir', 'Annotations'), option(node, 'img_subdir', 'JPEGImages')),
        )
    ]


def _join(root: str, path: str) -> str:
    return osp.join(root, path) if root and not is_abs(path) else path


def walk_pipeline(node: Any) -> Iterator[Any]:
    """Every transform of a pipeline, also nested ones (TestTimeAug, RandomApply, AutoAugment); configs or objects."""
    if isinstance(node, list | tuple):
        for child in node:
            yield from walk_pipeline(child)
    elif node is not None and not isinstance(node, str):
        yield node
        for key in ('transforms', 'subroutines', 'policies', 'aug_space'):
            yield from walk_pipeline(option(node, key))


def transform_name(node: Any) -> str:
    """Class name of a transform config or object, without scope."""
    named = node.get('type') if isinstance(node, Mapping) else type(node)
    return named.split('.')[-1] if isinstance(named, str) else getattr(named, '__name__', str(named))


def check_dataset(spec: DatasetSpec, images: ImageScope = 'sample', num_images: int = 200) -> list[Problem]:
    """Check files and class names of one data set.

    COCO and VOC data sets that load as mmdet's own classes do are checked in full; of others only the presence of the
    annotation file. Images are looked at where the pipeline reads plain image files. A list `source` in the metainfo,
    sentences, tells where a data set that is not there is got from.
    """
    origin = f'`{spec.where}.metainfo`'
    if not spec.has_metainfo:
        origin = f'the default class names of {spec.cls.__name__} (`{spec.where}` has no `metainfo`)'
    if spec.classes is not None:
        problems = check_class_list(spec.classes, f'{spec.where}.metainfo.classes')
        if problems:
            return problems
    if not spec.ann_file:
        return []
    remote = [path for path in (spec.ann_file, *spec.data_prefix.values()) if '://' in path]
    if remote:
        return [Problem('warning', spec.where, f'{remote[0]!r} is no local path: the data are not checked')]
    names = [transform_name(node) for node in spec.pipeline]
    source = spec.metainfo.get('source')
    if source and not osp.exists(spec.ann_file):
        message = f'the annotation file {spec.ann_file!r} does not exist; to get the data: {" ".join(source)}'
        return [Problem('error', spec.where, message)]
    scope = images if not spec.pipeline or 'LoadImageFromFile' in names else 'none'
    if spec.style == 'coco':
        if 'img' not in spec.data_prefix:
            message = "lacks `data_prefix=dict(img=...)`, the image folder; `dict(img='')` is `data_root` itself"
            return [Problem('error', spec.where, message)]
        labelled = spec.split != 'test' and 'LoadEmptyAnnotations' not in names
        folder = spec.data_prefix['img']
        return check_coco(spec.ann_file, spec.classes, folder, scope, num_images, origin, labelled)
    if spec.style == 'voc':
        root = spec.data_prefix.get('sub_data_root', '')
        return check_voc(spec.ann_file, root, spec.classes, *spec.subdirs, scope, num_images, origin)
    return check_exists(spec.ann_file, spec.where)


def check_exists(path: str, where: str) -> list[Problem]:
    """Check that a local file is there."""
    if '://' in path or osp.exists(path):
        return []
    return [
        Problem('error', where, f'the annotation file {path!r} does not exist; correct the path or create the file')
    ]


def check_eval_pipeline(spec: DatasetSpec) -> list[Problem]:
    """Check that an evaluation pipeline leaves a `scale_factor`, which heads assert when they rescale their boxes.

    CornerNet and CenterNet pad instead (RandomCenterCropPad) and do without.
    """
    names = [transform_name(node) for node in spec.pipeline]
    if not names or 'RandomCenterCropPad' in names:
        return []
    where = f'{spec.where}.pipeline'
    if not any('Resize' in name for name in names):
        own = [transform_name(node) for node in spec.pipeline if not _from_host(node)]
        fix = "add `dict(type='Resize', scale=(1333, 800), keep_ratio=True)` after the image is loaded"
        message = f'has no `Resize`, so images get no `scale_factor`, without which mmdet cannot predict; {fix}'
        if own:
            return [Problem('warning', where, f'{message}, unless {own[0]} sets it')]
        return [Problem('error', where, message)]
    for node in spec.pipeline:
        name = transform_name(node)
        keys = option(node, 'meta_keys') if name in _PACKS else None
        if keys is not None and 'scale_factor' not in keys:
            message = f"`meta_keys` of {name} lacks 'scale_factor', without which mmdet cannot predict; add it"
            return [Problem('error', where, message)]
    return []


def check_mask_pipeline(spec: DatasetSpec, head: str) -> list[Problem]:
    """Check that a training pipeline loads the masks that a mask head learns from.

    A pipeline without LoadAnnotations has another way to its annotations: it is left alone.

    Args:
        spec: Data set; only one for training is looked at.
        head: Config key of the mask head.
    """
    loads = [node for node in spec.pipeline if transform_name(node) == 'LoadAnnotations']
    if spec.split != 'train' or not loads or any(option(node, 'with_mask', False) for node in loads):
        return []
    message = f'the model has a mask head (`{head}`), but LoadAnnotations has no `with_mask=True`'
    return [Problem('error', f'{spec.where}.pipeline', f'{message}; add it, or choose a detector without masks')]


def _from_host(node: Any) -> bool:
    named = node.get('type') if isinstance(node, Mapping) else type(node)
    cls = TRANSFORMS.get(named) if isinstance(named, str) else named
    return getattr(cls, '__module__', '').split('.')[0] in ('mmcv', 'mmdet', 'mmengine', 'mmdet_ext')
