"""Losses of single images: targets as in training, everything else as in a test, and a model that stays as it was."""

import contextlib
import copy
import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.structures import SampleList
from mmengine.logging import MessageHub
from torch import Tensor, nn

from mmdet_ext.engine.class_counts import model_class_counts
from mmdet_ext.engine.gradient_balance import scalar_terms
from mmdet_ext.engine.step_record import StepState

_HEADS = ('mmdet.models.detectors', 'mmdet.models.dense_heads', 'mmdet.models.roi_heads')
_LATE = 10_000


def image_losses(model: Any, inputs: Tensor, samples: SampleList, seed: int = 0) -> tuple[dict[str, float], list[str]]:
    """Every loss term of one image, as training would have it with this image alone in the batch.

    Statistics of normalisation layers are those of the weights, dropout rests, samplers draw the same with every call,
    and what losses remember from step to step (GHM densities, thresholds of Dynamic R-CNN) is as before afterwards.

    Args:
        model: Detector in evaluation mode.
        inputs: (1, c, h, w) as the data preprocessor gives it.
        samples: The image's sample with ground truth in pixels of the input.
        seed: For samplers that draw at random.

    Returns:
        The terms by name, and sentences about what is missing: a head with fewer classes than the data, a loss that
        refuses the annotations and the like leave no terms.
    """
    samples = copy.deepcopy(samples)
    limits = _fit_labels(model, samples)
    try:
        with torch.no_grad(), as_in_training(model, seed):
            terms = scalar_terms(model.loss(inputs, samples))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # heads and losses fail in any way on data they were not made for
        text = ' '.join(str(error).split()) or 'no message'
        return {}, [*limits, f'no losses: {type(error).__name__}: {text:.300}']
    return ({} if limits else {name: float(term) for name, term in terms.items()}), limits


def head_class_counts(model: nn.Module) -> list[tuple[str, int]]:
    """Name and `num_classes` of every head that tells classes apart; an RPN, also alone, does not."""
    return [] if isinstance(getattr(model, 'bbox_head', None), RPNHead) else list(model_class_counts(model))


def _fit_labels(model: nn.Module, samples: SampleList) -> list[str]:
    """Move labels that no head knows to its last class: on a GPU they would end the process, not only the loss."""
    counts = [count for _, count in head_class_counts(model)]
    limits = []
    for sample in samples:
        labels = sample.gt_instances.labels
        if counts and len(labels) and int(labels.max()) >= min(counts):
            limits.append(
                f'no losses: images have objects with the label {int(labels.max())}, but a head has num_classes='
                f'{min(counts)}, which allows 0 to {min(counts) - 1}; their matching is shown as that of its last class'
            )
            sample.gt_instances.labels = labels.clamp(max=min(counts) - 1)
    return limits


@contextlib.contextmanager
def as_in_training(model: nn.Module, seed: int = 0) -> Iterator[None]:
    """Detector and heads act as in a training step, norms and dropout as in a test; afterwards all is as it was.

    Some heads give losses other maps than they give detections (FCOS, VFNet, DINO). Heads that ask for the epoch (TOOD)
    hear of a late one, random generators start at a seed.
    """
    state = StepState.take(model)
    kept = [(home, key, value, copy.copy(value)) for home, key, value in _histories(model)]
    modes = [(module, module.training) for module in model.modules() if _acts(module)]
    told = MessageHub.get_current_instance().runtime_info
    epoch = told.get('epoch')
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  (mmdet's samplers draw from it)
    try:
        told['epoch'] = _LATE if epoch is None else epoch
        for module, _ in modes:
            module.training = True
        yield
    finally:
        if epoch is None:
            told.pop('epoch', None)
        for module, mode in modes:
            module.training = mode
        state.restore(model)
        for home, key, value, before in kept:
            if isinstance(value, list | deque):
                value.clear()
                value.extend(before)
            home[key] = value


def _acts(module: nn.Module) -> bool:
    """Whether a module is a detector or a head, and not a layer of one."""
    return any(kind.__module__.startswith(_HEADS) for kind in type(module).__mro__)


def _histories(model: nn.Module) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """What `StepState` leaves to the modules: lists, and the numbers of assigners and samplers (Dynamic R-CNN)."""
    for module in model.modules():
        attributes = vars(module)
        for key, value in attributes.items():
            if type(value) in (list, deque):
                yield attributes, key, value
            if key.endswith(('assigner', 'sampler')):
                for part in value if isinstance(value, list) else [value]:
                    own: dict[str, Any] = getattr(part, '__dict__', {})
                    yield from ((own, name, number) for name, number in own.items() if type(number) in (int, float))


@contextlib.contextmanager
def kept_features(model: Any, inputs: Tensor) -> Iterator[None]:
    """Feature maps of these inputs are computed once, however often losses and predictions ask for them."""
    extract = model.extract_feat
    kept: list[Any] = []

    def cached(batch: Tensor, *args: Any, **kwargs: Any) -> Any:
        if batch is not inputs or args or kwargs:
            return extract(batch, *args, **kwargs)
        if not kept:
            kept.append(extract(batch))
        return kept[0]

    with replaced(model, extract_feat=cached):
        yield


@contextlib.contextmanager
def plain_batches(model: Any) -> Iterator[None]:
    """The data preprocessor pads images and masks as in training, but changes no sizes and mixes no images."""
    preprocessor = model.data_preprocessor
    augments = getattr(preprocessor, 'batch_augments', None)
    if augments is not None:
        preprocessor.batch_augments = None
    try:
        yield
    finally:
        if augments is not None:
            preprocessor.batch_augments = augments


@contextlib.contextmanager
def replaced(owner: Any, **methods: Any) -> Iterator[None]:
    """Methods of one object are others for a while."""
    before = {name: vars(owner)[name] for name in methods if name in vars(owner)}
    vars(owner).update(methods)
    try:
        yield
    finally:
        for name in methods:
            vars(owner).pop(name, None)
        vars(owner).update(before)
