"""A training step that can be run again: its batch, and the state of model and random generators before it."""

import contextlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import BaseDataElement, InstanceData, LabelData, PixelData
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..compat import allow_checkpoint_types
from .module_outputs import data_samples, uncompiled, unwrapped
from .nonfinite_search import Search, describe, image_names, search_nonfinite

FORMAT = 1
# Objects of mmdet's batches; their own unpickling only fills their attributes.
_SAMPLE_TYPES = [
    *(BaseDataElement, InstanceData, LabelData, PixelData, DetDataSample),
    *(HorizontalBoxes, BitmapMasks, PolygonMasks),
]


@dataclass(frozen=True)
class StepState:
    """What a forward pass reads and changes besides the weights.

    Attributes:
        buffers: Copies of all buffers of the model (running means, say), by module and name.
        numbers: Numbers that modules keep in their attributes (counters, say), by module.
        generators: State of the random generators of python, numpy, torch, and of the model's device if it is a GPU.
    """

    buffers: dict[str, dict[str, Tensor]]
    numbers: dict[str, dict[str, int | float]]
    generators: dict[str, Any]

    @classmethod
    def take(cls, model: nn.Module) -> 'StepState':
        """Copy the state of now; no host sync."""
        buffers: dict[str, dict[str, Tensor]] = {}
        numbers: dict[str, dict[str, int | float]] = {}
        for name, module in unwrapped(model).named_modules():
            own = {key: value.detach().clone() for key, value in module._buffers.items() if value is not None}
            if own:
                buffers[name] = own
            counters = {key: value for key, value in vars(module).items() if type(value) in (int, float)}
            if counters:
                numbers[name] = counters
        generators = {
            'python': random.getstate(),
            'numpy': np.random.get_state(),  # noqa: NPY002  (transforms and samplers draw from the global generator)
            'torch': torch.get_rng_state(),
        }
        if _device(model).type == 'cuda':
            generators['cuda'] = torch.cuda.get_rng_state(_device(model))
        return cls(buffers, numbers, generators)

    @torch.no_grad()
    def restore(self, model: nn.Module, *, generators: bool = True) -> None:
        """Bring back the state, in place where a buffer has kept its shape.

        Args:
            model: The one it was taken of, or its like.
            generators: Random generators too.
        """
        modules = dict(unwrapped(model).named_modules())
        for name, own in self.buffers.items():
            for key, value in own.items():
                buffer = modules[name]._buffers[key]
                if buffer is not None and buffer.shape == value.shape:
                    buffer.copy_(value)
                else:
                    modules[name]._buffers[key] = value.to(_device(model), copy=True)
        for name, counters in self.numbers.items():
            for key, number in counters.items():
                setattr(modules[name], key, number)
        if not generators:
            return
        random.setstate(self.generators['python'])
        np.random.set_state(self.generators['numpy'])  # noqa: NPY002
        torch.set_rng_state(self.generators['torch'])
        if 'cuda' in self.generators and _device(model).type == 'cuda':
            torch.cuda.set_rng_state(self.generators['cuda'], _device(model))


@dataclass(frozen=True)
class StepRecord:
    """One call of a model's `forward`, taken before it.

    Attributes:
        args: Positional arguments, after the data preprocessor: running it again would scale boxes twice and draw
            other sizes.
        kwargs: Named arguments.
        state: See `StepState`.
        autocast: Data type of automatic mixed precision; None without.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: StepState
    autocast: torch.dtype | None

    @classmethod
    def take(cls, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> 'StepRecord':
        """Note a call that is about to begin."""
        kind = _device(model).type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        return cls(args, kwargs, StepState.take(model), dtype)

    @property
    def samples(self) -> list[BaseDataElement]:
        """The data samples of the batch."""
        return list(data_samples((self.args, self.kwargs)))

    def search(self, model: nn.Module) -> Search:
        """Run the call again, without gradients, and look for the first value that is not finite.

        A collective where the model has any: every rank has to call it. Afterwards state and generators are as before.
        """
        now = StepState.take(model)
        # The buffers themselves are left alone: a backward pass that is still to come may need them.
        own = [(module, dict(module._buffers)) for module in unwrapped(model).modules() if module._buffers]
        for module, buffers in own:
            module._buffers.update({key: value.clone() for key, value in buffers.items() if value is not None})
        self.state.restore(model)
        kind = _device(model).type
        # DDP would count the call for its next backward pass; a sharded model runs in its wrapper only.
        runs = unwrapped(model) if isinstance(model, DistributedDataParallel) else model
        precision = torch.autocast(kind, self.autocast) if self.autocast else contextlib.nullcontext()
        try:
            with uncompiled(model), precision:
                return search_nonfinite(model, self.samples, lambda: runs(*self.args, **self.kwargs))
        finally:
            now.restore(model)
            for module, buffers in own:
                module._buffers.update(buffers)

    def save(self, path: str | Path, facts: Mapping[str, Any], weights: Mapping[str, Tensor] | None) -> Path:
        """Write the step to a file for `replay_step`, tensors on the CPU.

        Args:
            path: `.pth` file; missing folders are made.
            facts: Anything to keep beside it: iteration, rank, losses.
            weights: The model's state dict, of which the record's buffers replace those of now.
        """
        buffers = {
            f'{name}.{key}' if name else key: value
            for name, own in self.state.buffers.items()
            for key, value in own.items()
        }
        whole = None if weights is None else {key: buffers.get(key, value) for key, value in weights.items()}
        content = {
            'format': FORMAT,
            **facts,
            'images': image_names(self.samples),
            'args': self.args,
            'kwargs': self.kwargs,
            'state': vars(self.state),
            'autocast': self.autocast,
            'weights': whole,
        }
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(_to(content, torch.device('cpu')), path)
        return path


@dataclass(frozen=True)
class Replay:
    """A step that was run again.

    Attributes:
        losses: What the model gave.
        report: Where the first non-finite value is, in sentences.
        facts: What the file says of the step: `iteration`, `epoch`, `rank`, `losses`, `images`.
    """

    losses: dict[str, Any]
    report: str
    facts: dict[str, Any]


def replay_step(model: nn.Module, path: str | Path) -> Replay:
    """Run a step again that `LossMonitorHook` has written, with its weights, state and random numbers.

    The model is left with the weights of the file, in training mode.

    Args:
        model: The detector of the training's config, on any device; random numbers repeat on the same kind of device.
        path: The file. Of Python objects it may hold mmdet's data samples; loading it runs nothing else.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no such file, it is damaged or refused, or it is of another model.
    """
    content = _read(Path(path))
    if not isinstance(content, dict) or content.get('format') != FORMAT or 'kwargs' not in content:
        raise ValueError(f'{path} is no step written by LossMonitorHook (loss_monitor/iter_*.pth in a work directory)')
    weights, device = content.pop('weights'), _device(model)
    state = StepState(**content.pop('state'))
    strangers = {*state.buffers, *state.numbers} - dict(model.named_modules()).keys()
    try:
        if strangers:
            raise RuntimeError(f'it has no module {min(strangers)}')
        if weights is not None:
            model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f'{path} is a step of another model than this {type(model).__name__}: {error}') from error
    model.train()
    moved = _to({key: content.pop(key) for key in ('args', 'kwargs')}, device)
    record = StepRecord(**moved, state=state, autocast=content.pop('autocast'))
    search = record.search(model)
    return Replay(search.result, describe(search, content['images']), content)


def _read(path: Path) -> Any:
    """The content of a stored step, without running code from it."""
    if not path.is_file():
        raise FileNotFoundError(f'There is no stored step {path}; LossMonitorHook writes loss_monitor/iter_*.pth.')
    allow_checkpoint_types()
    try:
        with torch.serialization.safe_globals(_SAMPLE_TYPES):
            return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # the unpickler fails in any way on bytes that are no pickle
        reason = str(error).split('\n', maxsplit=1)[0][:200]
        raise ValueError(
            f'{path} is no step written by LossMonitorHook, or a damaged one, or holds objects other than data '
            f'samples, which are refused because loading them could run code: {reason}'
        ) from error


def _device(model: nn.Module) -> torch.device:
    return next((value.device for value in model.parameters()), torch.device('cpu'))


def _to(value: Any, device: torch.device) -> Any:
    """Tensors and annotations inside of containers on a device; detached copies where they were elsewhere."""
    if isinstance(value, Tensor):
        return value.detach().to(device)
    if isinstance(value, BaseDataElement):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, '_fields'):
        return type(value)(*(_to(item, device) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(_to(item, device) for item in value)
    return value
