"""Trials: another input or other labels than the config's. What a detector takes more kindly is what it has learnt."""

import contextlib
import copy
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from logging import DEBUG
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.logging import print_log

from mmdet_ext.evaluation.average_precision import detection_ap, mean_ap
from mmdet_ext.evaluation.matching import pair_table
from mmdet_ext.evaluation.objects import ImageObjects, Objects

from .evidence import TRIALS
from .image_losses import image_losses, kept_features
from .predictions import predict

# Mean and standard deviation of pixels; ImageNet's with red first.
_PIXELS = {
    'pixels_raw': ((0.0,), (1.0,)),
    'pixels_unit': ((0.0,), (255.0,)),
    'pixels_imagenet': ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
}
_FACTORS = {'half': 0.5, 'double': 2.0}
_SHIFTS = {'labels_up': 1, 'labels_down': -1}
# These have the input of 'plain'.
_LABELS = ('transposed', *_SHIFTS)
_PARTS = ('mask', 'landmark')


@dataclass
class _Outcome:
    """Of one trial, by the places of images: their losses, and their objects and detections."""

    losses: dict[int, float] = field(default_factory=dict)
    images: dict[int, ImageObjects] = field(default_factory=dict)


def run_trials(
    detector: Any, split: str, indices: Sequence[int], names: Sequence[str] = TRIALS
) -> dict[str, dict[str, float]]:
    """Losses and AP of some images, as they are and in several disguises, see `TRIALS`.

    A trial that lowers the loss clearly names a fault of the data, or of the training. Losses are those of classes and
    boxes (masks and landmarks are not transposed); AP is at IoU 0.5, the mean over classes with objects. Both are of
    the ground truth of the trial. A detector of one class has no other labels, and one whose data preprocessor is not
    like mmengine's no other pixels: such trials are left out, and so is what cannot be computed of every image of
    'plain' (an input of double size may not fit into the memory), for means of other images are no comparison.

    Args:
        detector: A `DiagnosedDetector`.
        split: One of its splits.
        indices: Places of some images; those that cannot be read, or detected in, are passed over.
        names: Trials to make; 'plain' always is.

    Returns:
        By trial `loss`, the mean over the images of which it is known in 'plain', and `ap`.

    Raises:
        ValueError: There is no such trial.
    """
    unknown = sorted(set(names) - set(TRIALS))
    if unknown:
        raise ValueError(f'there is no trial {unknown[0]!r}; there are {", ".join(TRIALS)}')
    outcomes: dict[str, _Outcome] = defaultdict(_Outcome)
    inputs = ['plain', *(name for name in TRIALS if name in names and name not in ('plain', *_LABELS))]
    for index in indices:
        for kind in inputs:
            _try_input(detector, split, index, kind, names, outcomes)
    count = len(detector.classes)
    found = {name: _summary(outcomes[name], outcomes['plain'], count) for name in TRIALS if name in outcomes}
    return {name: figures for name, figures in found.items() if figures}


def _try_input(
    detector: Any, split: str, index: int, kind: str, names: Sequence[str], outcomes: Mapping[str, _Outcome]
) -> None:
    """One image with one input, and with all ground truths that belong to it."""
    try:
        _measure_input(detector, split, index, kind, names, outcomes)
    except Exception as error:  # what one image does to a detector must not end a diagnosis that has looked at all
        print_log(f'Trial {kind!r} of image {index} of {split}: {type(error).__name__}: {error!s:.300}', level=DEBUG)


def _measure_input(
    detector: Any, split: str, index: int, kind: str, names: Sequence[str], outcomes: Mapping[str, _Outcome]
) -> None:
    with other_pixels(detector.model.data_preprocessor, kind) as possible:
        if not possible:
            return
        batches = list(detector.batches(split, [index], _FACTORS.get(kind, 1.0)))
    for inputs, samples, image in batches:
        with kept_features(detector.model, inputs):
            detections = predict(detector.model, inputs, samples, raw=False).detections
            for name in (kind, *(label for label in _LABELS if kind == 'plain' and label in names)):
                changed = relabelled(name, samples[0], image.truth, _num_classes(detector))
                if changed is None:
                    continue
                sample, truth = changed
                losses, limits = image_losses(detector.model, inputs, [sample])
                loss = sum(value for term, value in losses.items() if not any(part in term for part in _PARTS))
                if losses and not limits and math.isfinite(loss):
                    outcomes[name].losses[index] = loss
                outcomes[name].images[index] = ImageObjects(truth, detections, image.ignored)


def _num_classes(detector: Any) -> int:
    return min([count for _, count in detector.class_counts] or [len(detector.classes)])


@contextlib.contextmanager
def other_pixels(preprocessor: Any, kind: str) -> Iterator[bool]:
    """Let a data preprocessor exchange red and blue, or normalise pixels otherwise; other kinds change nothing.

    Yields:
        Whether it can be done.
    """
    attributes, buffers = vars(preprocessor), preprocessor._buffers
    if kind != 'channels' and kind not in _PIXELS:
        yield True
        return
    if not {'_channel_conversion', '_enable_normalize'} <= attributes.keys():
        yield False
        return
    keys = ('_channel_conversion', '_enable_normalize')
    before = {key: attributes[key] for key in keys}, {key: buffers.get(key) for key in ('mean', 'std')}
    if kind == 'channels':
        attributes['_channel_conversion'] = not before[0]['_channel_conversion']
    else:
        attributes['_enable_normalize'] = True
        for key, values in zip(('mean', 'std'), _PIXELS[kind], strict=True):
            # Images are read blue first.
            ordered = values if before[0]['_channel_conversion'] else values[::-1]
            buffers[key] = torch.tensor(ordered, device=preprocessor.device).view(-1, 1, 1)
    try:
        yield True
    finally:
        attributes.update(before[0])
        for key, value in before[1].items():
            if value is None:
                buffers.pop(key, None)
            else:
                buffers[key] = value


def relabelled(
    name: str, sample: DetDataSample, truth: Objects, num_classes: int
) -> tuple[DetDataSample, Objects] | None:
    """Ground truth of a trial, in pixels of the input and of the image file; None where it is that of 'plain'.

    Args:
        name: Trial.
        sample: Data sample with `gt_instances`; not changed.
        truth: The same objects in pixels of the image file.
        num_classes: Labels go round from the last class to the first.
    """
    if name not in _LABELS:
        return sample, truth
    if name in _SHIFTS and num_classes < 2:
        return None
    sample = copy.deepcopy(sample)
    gts = sample.gt_instances
    if name in _SHIFTS:
        gts.labels = (gts.labels + _SHIFTS[name]) % num_classes
        return sample, Objects(truth.boxes, (truth.labels + _SHIFTS[name]) % num_classes, truth.scores)
    x, y = sample.metainfo.get('scale_factor', (1.0, 1.0))[:2]
    boxes = get_box_tensor(gts.bboxes)[:, [1, 0, 3, 2]]
    gts.bboxes = boxes * boxes.new_tensor([x / y, y / x]).repeat(2)
    return sample, Objects(truth.boxes[:, [1, 0, 3, 2]], truth.labels, truth.scores)


def _summary(outcome: _Outcome, plain: _Outcome, num_classes: int) -> dict[str, float]:
    figures = {}
    both = [loss for index, loss in outcome.losses.items() if index in plain.losses]
    if both and len(both) == len(plain.losses):
        figures['loss'] = float(np.mean(both))
    images = [image for index, image in outcome.images.items() if index in plain.images]
    labels = [objects.labels for image in images for objects in (image.truth, image.detections)]
    count = max([num_classes, *(int(own.max()) + 1 for own in labels if len(own))])
    ap = mean_ap(detection_ap(pair_table(images, count), (0.5,)))
    if math.isfinite(ap) and len(images) == len(plain.images):
        figures['ap'] = ap
    return figures
