"""What the modules of a model put out: the tensors in it, and names of the modules to look at."""

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from mmdet.structures.bbox import BaseBoxes
from mmengine.model import is_model_wrapper
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

# What wrappers (FSDP, checkpointing, compiling) add to the names of modules.
_WRAPPED = ('_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod')


def float_tensors(value: Any) -> Iterator[Tensor]:
    """Tensors of floating point numbers in a value: itself, or in dicts, sequences and dataclasses of any depth.

    Annotations and results (`DetDataSample`, `InstanceData`) are not looked into: what is not labelled there may be
    anything, also NaN.
    """
    if isinstance(value, Tensor):
        if value.is_floating_point() and value.layout is torch.strided:
            yield value
    elif isinstance(value, BaseBoxes):
        yield from float_tensors(value.tensor)
    elif isinstance(value, BaseDataElement):
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from float_tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from float_tensors(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from float_tensors(getattr(value, field.name))


def data_samples(value: Any) -> Iterator[BaseDataElement]:
    """Data samples among the inputs of a model, in order."""
    if isinstance(value, BaseDataElement):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from data_samples(item)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of DDP or another wrapper of mmengine."""
    return cast(nn.Module, model.module) if is_model_wrapper(model) else model


def named_modules(model: nn.Module) -> dict[str, nn.Module]:
    """Every module inside of a model by its name; one that is used in several places has its first name."""
    found = {}
    for name, module in unwrapped(model).named_modules():
        # Of a wrapper and what it wraps, the inner one comes later and stays.
        found['.'.join(part for part in name.split('.') if part not in _WRAPPED)] = module
    found.pop('', None)
    return found


def choose_modules(model: nn.Module, patterns: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """Modules whose name fits a pattern, in the model's order.

    Args:
        model: A detector, wrapped or not.
        patterns: As in file names: `'backbone.*'`, `'*.conv2'`. Default: all modules without children, but for the data
            preprocessor.

    Raises:
        ValueError: A pattern fits no module.
    """
    modules = named_modules(model)
    if patterns is None:
        return {
            name: module
            for name, module in modules.items()
            if not name.startswith('data_preprocessor') and next(module.children(), None) is None
        }
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in modules):
            near = difflib.get_close_matches(pattern, modules, 3, cutoff=0.4) or list(modules)[:3]
            raise ValueError(
                f'no module of {type(unwrapped(model)).__name__} has a name like {pattern!r}; there are '
                f'{", ".join(near)} and others. A pattern fits whole names: * stands for any part of one.'
            )
    return {name: module for name, module in modules.items() if any(fnmatchcase(name, p) for p in patterns)}


def is_compiled(model: nn.Module) -> bool:
    """Whether `torch.compile` has replaced a method of the model, as the Runner's `compile` option does."""
    return any(_compiled(module) for module in {model, unwrapped(model)})


@contextlib.contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """Run the model's own methods instead of the compiled ones, which know no hooks that come after compiling."""
    aside = [
        (module, name, vars(module).pop(name)) for module in {model, unwrapped(model)} for name in _compiled(module)
    ]
    try:
        yield
    finally:
        for module, name, method in aside:
            setattr(module, name, method)


def _compiled(module: nn.Module) -> list[str]:
    return [name for name in ('train_step', 'forward') if hasattr(vars(module).get(name), '_torchdynamo_orig_callable')]
