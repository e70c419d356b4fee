"""Images of a split as the diagnosis wants them: test-time transforms, ground truth that scales with the image."""

import contextlib
import hashlib
import io
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import Compose
from mmdet.registry import DATASETS, TRANSFORMS
from mmdet.structures.bbox import BaseBoxes
from mmengine.config import Config
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

from mmdet_ext.analysis.train_set import leaf_configs
from mmdet_ext.engine.dataset_spec import DatasetSpec, Split, dataset_specs
from mmdet_ext.evaluation.objects import Objects
from mmdet_ext.utils.provenance import hash_file

from .split_pipelines import make_pipelines, scale_sizes

SPLITS: tuple[Split, ...] = ('train', 'val', 'test')


@dataclass(frozen=True)
class LoadedImage:
    """One image, ready for the data preprocessor.

    Attributes:
        data: `inputs` and `data_samples`, of one image.
        truth: Annotated objects in pixels of the image file, in the order of `gt_instances`.
        ignored: (I, 4) boxes to be ignored, in pixels of the image file.
        ori_shape: Height and width of the image file.
        digest: Hash of the decoded pixels.
    """

    data: dict[str, Any]
    truth: Objects
    ignored: NDArray[np.float32]
    ori_shape: tuple[int, int]
    digest: str


@dataclass(frozen=True)
class LabelledSet:
    """One data set without its wrappers.

    Attributes:
        spec: What its config says.
        dataset: All its images, also those a training leaves out; without a pipeline.
        loads: Transforms that load image and annotations.
        fits: Configs of the transforms of the test pipeline that make it an input of the model.
    """

    spec: DatasetSpec
    dataset: Any
    loads: Compose
    fits: list[Any]
    _built: dict[float, Compose] = field(default_factory=dict, repr=False)

    def load(self, index: int, factor: float = 1.0) -> LoadedImage:
        """Load an image and its annotations.

        Args:
            index: Place in the data set.
            factor: Times the size of the input that the config asks for.

        Raises:
            ValueError: The image cannot be read or its annotations are faulty; the sentence names the file.
        """
        info = self.dataset.get_data_info(index)
        try:
            results = self.loads(info)
            boxes, labels, ignore = _annotations(results)
            image = results['img']
            digest = hashlib.blake2b(image.tobytes() + str(image.shape).encode(), digest_size=16).hexdigest()
            shape = tuple(map(int, results['ori_shape'][:2]))
            data = self._fit(factor)(results)
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # files can be damaged, and transforms complain, in any way
            text = ' '.join(str(error).split()) or 'no message'
            raise ValueError(f'{info.get("img_path")} cannot be used: {type(error).__name__}: {text:.300}') from error
        ones = np.ones(int((~ignore).sum()), np.float32)
        return LoadedImage(data, Objects(boxes[~ignore], labels[~ignore], ones), boxes[ignore], shape, digest)  # type: ignore[arg-type]

    def _fit(self, factor: float) -> Compose:
        if factor not in self._built:
            self._built[factor] = _compose(self.fits if factor == 1 else scale_sizes(self.fits, factor))
        return self._built[factor]


class SplitData:
    """The data sets of one loader, one after the other; each counts once, however often a wrapper repeats it.

    Args:
        name: 'train', 'val' or 'test'.
        sets: Its data sets.

    Attributes:
        name: As given.
        sets: As given.
        classes: Class names of the first data set.
    """

    def __init__(self, name: str, sets: Sequence[LabelledSet]) -> None:
        self.name, self.sets = name, list(sets)
        self.classes: tuple[str, ...] = tuple(self.sets[0].dataset.metainfo.get('classes') or ())
        self._ends = list(accumulate(len(part.dataset) for part in self.sets))

    def __len__(self) -> int:
        return self._ends[-1]

    def _find(self, index: int) -> tuple[LabelledSet, int]:
        place = bisect_right(self._ends, index)
        return self.sets[place], index - (self._ends[place - 1] if place else 0)

    @property
    def ann_files(self) -> list[str]:
        """Annotation files that are local files."""
        return [part.spec.ann_file for part in self.sets if Path(part.spec.ann_file).is_file()]

    def hash_annotations(self) -> str:
        """Changes with any annotation, in whatever files they are."""
        digest = hashlib.sha256()
        for part in self.sets:
            file = Path(part.spec.ann_file)
            if part.spec.style == 'coco' and file.is_file():
                digest.update(hash_file(file).encode())
                continue
            # The file may be no more than a list of others.
            for index in range(len(part.dataset)):
                digest.update(json.dumps(part.dataset.get_data_info(index), sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def get_data_info(self, index: int) -> dict[str, Any]:
        """What the annotation file says about an image: `img_path`, `img_id`, `instances` and more."""
        part, place = self._find(index)
        return part.dataset.get_data_info(place)

    def load(self, index: int, factor: float = 1.0) -> LoadedImage:
        """Load an image, see :meth:`LabelledSet.load`."""
        part, place = self._find(index)
        return part.load(place, factor)


def open_split(cfg: Config, split: Split) -> SplitData:
    """Open the data of a loader: no augmentation, nothing filtered, ground truth loaded before the image is resized.

    Images are resized and padded as in validation (without it: in test), also those of training. Annotations are loaded
    with the options of training, so that all its losses find what they need.

    Raises:
        FileNotFoundError: An annotation file is not there.
        ValueError: The config has no such loader, no images, or a pipeline that cannot be used so.
    """
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    leaves = _leaves_of(cfg, split)
    if not leaves:
        raise ValueError(
            f'{cfg.filename} has no {split} data that can be read: {split}_dataloader.dataset must be, or wrap, a data '
            'set of mmengine; --dataset FILE brings that of another config, --split leaves it out'
        )
    train = next((pipeline for _, _, pipeline in _leaves_of(cfg, 'train')), None)
    tests = _leaves_of(cfg, 'val') or _leaves_of(cfg, 'test')
    if not tests:
        raise ValueError(
            f'{cfg.filename} has neither val_dataloader nor test_dataloader, whose pipeline resizes images'
        )
    return SplitData(
        split,
        [
            _open(spec, leaf, own, own if split == 'train' else train or own, tests[0][2] if split == 'train' else own)
            for spec, leaf, own in leaves
        ],
    )


def _leaves_of(cfg: Config, split: Split) -> list[tuple[DatasetSpec, Any, list[Any]]]:
    """Every data set of a loader: what is known of it, its config and its pipeline with that of wrappers."""
    node = (cfg.get(f'{split}_dataloader') or {}).get('dataset')
    if node is None:
        return []
    specs, leaves = dataset_specs(node, f'{split}_dataloader.dataset', split), list(leaf_configs(node))
    return [(spec, *leaf) for spec, leaf in zip(specs, leaves, strict=True)] if len(specs) == len(leaves) else []


def _open(
    spec: DatasetSpec, leaf: Mapping[str, Any], own: Sequence[Any], train: Sequence[Any], test: Sequence[Any]
) -> LabelledSet:
    if spec.ann_file and '://' not in spec.ann_file and not Path(spec.ann_file).exists():
        hint = ' '.join(spec.metainfo.get('source') or ['correct the path, or bring other data by --dataset FILE'])
        raise FileNotFoundError(f'{spec.where}: there is no annotation file {spec.ann_file}; {hint}')
    # What makes small boxes ignored ones stays; `test_mode` would not filter either, but is refused together with it.
    kept = {key: value for key, value in (leaf.get('filter_cfg') or {}).items() if key == 'bbox_min_size'}
    built = DATASETS.build({**leaf, 'pipeline': [], 'filter_cfg': kept or None, 'test_mode': False, 'lazy_init': True})
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            built.full_init()
        except ValueError as error:
            if 'at least one array' in str(error):  # nothing to serialise
                raise ValueError(f'{spec.where}: {spec.ann_file} has no image') from None
            raise
    loads, fits = make_pipelines(own, train, test, spec.where)
    return LabelledSet(spec, built, _compose(loads), fits)


def _compose(nodes: Sequence[Any]) -> Compose:
    return Compose([TRANSFORMS.build(node) for node in nodes])


def _annotations(results: Mapping[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Boxes xyxy (n, 4), labels (n,) and whether each is to be ignored, as loaded."""
    boxes = results['gt_bboxes']
    boxes = boxes.tensor.numpy() if isinstance(boxes, BaseBoxes) else np.asarray(boxes)
    labels = np.asarray(results['gt_bboxes_labels'], np.int64)
    ignore = np.asarray(results.get('gt_ignore_flags', np.zeros(len(labels))), bool)
    return boxes.astype(np.float32).reshape(-1, 4), labels, ignore
