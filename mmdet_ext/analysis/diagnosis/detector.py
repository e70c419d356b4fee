"""A trained detector with its data, to be examined image by image."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from torch import Tensor

from mmdet_ext.analysis.trained_detector import learnt_classes, load_detector, name_places, no_such_image
from mmdet_ext.engine.checkpoint import read_checkpoint
from mmdet_ext.engine.launch import load_config
from mmdet_ext.evaluation.objects import Objects

from .assignments import watch_stages
from .image_losses import head_class_counts, image_losses, kept_features, plain_batches
from .predictions import predict
from .record import ImageRecord
from .split_data import SPLITS, LoadedImage, SplitData, open_split


class DiagnosedDetector:
    """A detector with its weights, and the images of some splits.

    What is wrong with data or heads is left to be found: only what makes it impossible to look at all is an error.

    Args:
        config: Config file.
        checkpoint: The weights.
        splits: Of 'train', 'val' and 'test', those to look at.
        num: Number of images of each split, evenly spread over it; None for all.
        image_ids: Only the images with these ids, file names or file stems, in whatever split they are.
        dataset: Config whose data part replaces the config's, see `load_config`.
        cfg_options: Dotted key to value, merged into the config.

    Attributes:
        cfg: The config.
        checkpoint: Path of the weights.
        meta: The checkpoint's `meta`: epoch, iter, dataset_meta and so on.
        model: The detector, in evaluation mode.
        splits: By name the data of each split.
        chosen: By name the places of the images to look at.
        classes: Class names of the data (of the last split).
        learnt: Class names the checkpoint was trained on; None where it does not say.
        class_counts: Name and `num_classes` of every head.

    Raises:
        FileNotFoundError: Config, checkpoint or an annotation file is missing.
        ValueError: A bad option, an image that is in no split, a split without data, a checkpoint of another model.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path,
        splits: Sequence[str] = ('train', 'val'),
        num: int | None = None,
        image_ids: Sequence[str] | None = None,
        dataset: str | Path | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> None:
        if num is not None and num < 1:
            raise ValueError(f'--num {num}: the number of images must be at least 1; leave it out for all of them')
        unknown = [name for name in splits if name not in SPLITS]
        if unknown or not splits or len(set(splits)) < len(splits):
            raise ValueError(f'--split {",".join(splits)}: name each of {", ".join(SPLITS)} once at most')
        self.cfg: Config = load_config(config, dataset=dataset, cfg_options=cfg_options)
        init_default_scope(self.cfg.get('default_scope', 'mmdet'))
        self.checkpoint = checkpoint
        stored = read_checkpoint(checkpoint)
        self.meta: dict[str, Any] = dict(stored.get('meta') or {})
        self.learnt = learnt_classes(stored)
        self.splits: dict[str, SplitData] = {name: open_split(self.cfg, name) for name in splits}  # type: ignore[arg-type]
        self.classes = self.splits[splits[-1]].classes
        self.chosen = self._choose(num, image_ids)
        self.model = load_detector(self.cfg, checkpoint)
        self.class_counts = head_class_counts(self.model)

    def _choose(self, num: int | None, image_ids: Sequence[str] | None) -> dict[str, list[int]]:
        if image_ids is None:
            return {name: spread(len(data), num) for name, data in self.splits.items()}
        places = {name: name_places(data) for name, data in self.splits.items()}
        known = {name for names in places.values() for name in names}
        for wanted in image_ids:
            if wanted not in known:
                raise no_such_image(wanted, sorted(known), '--image-ids', f'the data ({", ".join(self.splits)})')
        return {
            name: sorted({names[wanted] for wanted in image_ids if wanted in names}) for name, names in places.items()
        }

    def prepare(self, image: LoadedImage) -> tuple[Tensor, SampleList]:
        """Input (1, c, h, w) and data sample of one image on the model's device, as training gets them."""
        with plain_batches(self.model):
            data = self.model.data_preprocessor(pseudo_collate([image.data]), True)
        return data['inputs'], data['data_samples']

    def batches(
        self, split: str, indices: Sequence[int], factor: float = 1.0
    ) -> Iterator[tuple[Tensor, SampleList, LoadedImage]]:
        """Inputs, data samples (one each) and what was loaded, of the images that can be read.

        Args:
            split: One of `splits`.
            indices: Places of the images.
            factor: Times the size of the input that the config asks for.
        """
        for index in indices:
            image = self._load(split, index, factor)
            if isinstance(image, LoadedImage):
                yield *self.prepare(image), image

    def _load(self, split: str, index: int, factor: float = 1.0) -> LoadedImage | str:
        """The image, or why it cannot be used."""
        try:
            return self.splits[split].load(index, factor)
        except ValueError as error:
            return str(error)

    @torch.no_grad()
    def examine(self, split: str, index: int) -> ImageRecord:
        """Everything that is noted about one image.

        An image that cannot be read, or for which the prediction fails, has a `fault`; what a detector of this kind
        cannot tell is a sentence in `limits`.

        Args:
            split: One of `splits`.
            index: Place in the split.
        """
        info = self.splits[split].get_data_info(index)
        plain: dict[str, Any] = dict(split=split, index=index, img_id=info['img_id'], file=str(info['img_path']))
        image = self._load(split, index)
        if isinstance(image, str):
            return ImageRecord(**plain, fault=image)
        inputs, samples = self.prepare(image)
        meta = samples[0].metainfo
        height, width = _filled(meta)
        pixels = inputs[0, :, :height, :width].flatten(1).double()
        with kept_features(self.model, inputs):
            watched = watch_stages(self.model, samples[0])
            with watched:
                losses, limits = image_losses(self.model, inputs, samples)
            stages = watched.records(limits)
            try:
                found = predict(self.model, inputs, samples)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # what one image does to a detector must not end the look at all others
                text = ' '.join(str(error).split()) or 'no message'
                return ImageRecord(**plain, fault=f'the prediction failed: {type(error).__name__}: {text:.300}')
        return ImageRecord(
            **plain,
            ori_shape=image.ori_shape,
            input_shape=(int(height), int(width)),
            digest=image.digest,
            truth=_truth(image, samples[0]),
            ignored=image.ignored,
            losses=losses,
            stages=stages,
            proposals=found.proposals,
            detections=found.detections,
            raw=found.raw,
            pixels=torch.stack([pixels.mean(1), pixels.std(1, correction=0)]).float().cpu().numpy(),
            limits=(*limits, *found.limits),
        )


def _filled(meta: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of the part of an input that the image fills: `img_shape` counts what Pad has added."""
    height, width = meta['img_shape'][:2]
    x, y = meta.get('scale_factor', (1.0, 1.0))[:2]
    return min(height, max(1, round(meta['ori_shape'][0] * y))), min(width, max(1, round(meta['ori_shape'][1] * x)))


def _truth(image: LoadedImage, sample: DetDataSample) -> Objects:
    """Objects row by row as in `gt_instances`, also where a transform has dropped some."""
    gts = sample.gt_instances
    if len(gts) == len(image.truth):
        return image.truth
    scale = torch.tensor(sample.metainfo.get('scale_factor', (1.0, 1.0))[:2]).repeat(2)
    boxes = get_box_tensor(gts.bboxes).cpu() / scale
    return Objects(boxes.numpy(), gts.labels.cpu().numpy(), np.ones(len(gts), np.float32))


def spread(length: int, num: int | None) -> list[int]:
    """Places of `num` images (None: all), evenly spread from the first to the last."""
    if num is None or num >= length:
        return list(range(length))
    return np.linspace(0, length - 1, num).round().astype(int).tolist() if num > 1 else [0]
