"""Finds the first module of a model that gives NaN or infinity."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

from mmdet_ext.datasets.problems import listing

from .module_outputs import float_tensors, named_modules, unwrapped


@dataclass(frozen=True)
class Event:
    """Values that are not finite, at a module.

    Attributes:
        module: Its name; empty for the model itself.
        kind: Its class.
        side: `'output'`, or `'input'`: no module before has put these values out, so they come from code between.
        values: How many values were looked at.
        nan: How many of them are NaN.
        infinite: How many are infinite.
        images: Index in the batch of the images concerned, where the tensors tell; else none.
    """

    module: str
    kind: str
    side: str
    values: int
    nan: int
    infinite: int
    images: tuple[int, ...]


@dataclass(frozen=True)
class Search:
    """What a step was like.

    Attributes:
        first: The first values that are not finite; None if no module has any.
        first_nan: The first NaN, where `first` is only infinite: modules may mean to give infinities (masks of an
            attention); None if there is none.
        weights: Names of parameters and buffers that are not finite, before the step.
        boxes: Index in the batch of images whose ground truth boxes are not finite.
        result: What the step gave.
    """

    first: Event | None
    first_nan: Event | None
    weights: tuple[str, ...]
    boxes: tuple[int, ...]
    result: Any


@torch.no_grad()
def search_nonfinite(model: nn.Module, samples: Iterable[BaseDataElement], step: Callable[[], Any]) -> Search:
    """Run a step and look at what goes in and out of every module, in the order of time.

    It waits for the device at every module. The step runs without gradients.

    Args:
        model: A detector, wrapped or not.
        samples: Data samples of the batch, for the number of images and the boxes.
        step: Runs the model once.
    """
    samples = list(samples)
    watch = _Watch(len(samples))
    weights = nonfinite_weights(model)
    core = unwrapped(model)
    handles: list[Any] = []
    try:
        for name, module in {'': core, **named_modules(model)}.items():
            handles.append(module.register_forward_pre_hook(partial(watch.enter, name), with_kwargs=True))
            handles.append(module.register_forward_hook(partial(watch.leave, name)))
        result = step()
    finally:
        for handle in handles:
            handle.remove()
    boxes = tuple(index for index, sample in enumerate(samples) if not _boxes_finite(sample))
    first_nan = None if watch.first is None or watch.first.nan else watch.first_nan
    return Search(watch.first, first_nan, weights, boxes, result)


def nonfinite_weights(model: nn.Module) -> tuple[str, ...]:
    """Names of floating point parameters and buffers with a value that is not finite."""
    core = unwrapped(model)
    named = {**dict(core.named_parameters()), **dict(core.named_buffers())}
    floats = {name: value for name, value in named.items() if value.is_floating_point()}
    return tuple(name for name, value in floats.items() if not value.isfinite().all())


def image_names(samples: Iterable[BaseDataElement]) -> list[str]:
    """File, else number, of every image of a batch."""
    found = []
    for sample in samples:
        name = sample.get('img_path') or sample.get('img_id')
        found.append('an image without img_path and img_id in its metainfo' if name is None else str(name))
    return found


def describe(search: Search, images: list[str]) -> str:
    """Where the first non-finite values are, in sentences."""
    sentences = []
    if search.boxes:
        sentences.append(f'Ground truth boxes are not finite in {listing([images[index] for index in search.boxes])}.')
    if search.weights:
        sentences.append(
            f'Weights are not finite already: {listing(search.weights)}; an update before this step broke them (a '
            'finite loss can have gradients that are not: clip them, or lower the learning rate).'
        )
    if search.first is None:
        sentences.append(
            'No module has a value that is not finite: look into the code that makes the named terms of the outputs.'
        )
    else:
        finite_before = '; what went into it was finite' if search.first.side == 'output' else ''
        sentences.append(_tell(search.first, images, finite_before))
    if search.first_nan is not None:
        sentences.append('If that infinity is meant to be there: ' + _tell(search.first_nan, images))
    return ' '.join(sentences)


class _Watch:
    """Keeps the first event, and the first one with a NaN."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.first: Event | None = None
        self.first_nan: Event | None = None

    def enter(self, name: str, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self._look(name, module, 'input', (args, kwargs))

    def leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        self._look(name, module, 'output', output)

    def _look(self, name: str, module: nn.Module, side: str, value: Any) -> None:
        if self.first_nan is not None:
            return
        tensors = list(float_tensors(value))
        bad = [tensor for tensor in tensors if not tensor.isfinite().all()]
        nan = sum(int(tensor.isnan().sum()) for tensor in bad)
        if not bad or (self.first is not None and not nan):
            return
        images = sorted({index for tensor in bad for index in self._images(tensor)})
        values = sum(tensor.numel() for tensor in tensors)
        infinite = sum(int(tensor.isinf().sum()) for tensor in bad)
        event = Event(name, type(module).__name__, side, values, nan, infinite, tuple(images))
        self.first = self.first or event
        self.first_nan = event if nan else None

    def _images(self, tensor: Tensor) -> list[int]:
        """The images concerned, where the first axis is the batch; of one image there is no question."""
        if self.batch == 1:
            return [0]
        if tensor.ndim < 2 or len(tensor) != self.batch:
            return []
        return (~tensor.isfinite()).flatten(1).any(dim=1).nonzero().flatten().tolist()


def _boxes_finite(sample: BaseDataElement) -> bool:
    instances = sample.get('gt_instances')
    boxes = None if instances is None else instances.get('bboxes')
    return all(bool(tensor.isfinite().all()) for tensor in float_tensors(boxes))


def _tell(event: Event, images: list[str], addition: str = '') -> str:
    what = ' and '.join(
        f'{number} {word}' for number, word in ((event.nan, 'NaN'), (event.infinite, 'infinite')) if number
    )
    concerned = [Path(images[index]).name for index in event.images]
    whose = f', of {listing(concerned)}' if concerned and len(images) > 1 else ''
    count = f'{what} of {event.values} values{whose}'
    if not event.module and event.side == 'input':
        return f'The images themselves, as they come from the data preprocessor, have {count}.'
    name = f'{event.module or "the model"} ({event.kind})'
    if event.side == 'input':
        return f'The first module to meet one is {name}: {count} in its input, which no module before has put out.'
    return f'The first module to give one is {name}: {count}{addition}.'
