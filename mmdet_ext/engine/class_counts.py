"""Finds `num_classes` of every head, in a model config or in a built model."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmdet.models.detectors import RPN
from mmdet.registry import MODELS
from torch import nn

_OPEN = ('language_model', 'tracker')
# RPN tells object from background; semantic heads count stuff; the rest is no detection head.
_SKIPPED = {
    'rpn_head', 'semantic_head', 'backbone', 'neck', 'data_preprocessor', 'language_model', 'train_cfg', 'test_cfg',
    'init_cfg',
}  # fmt: skip


def config_class_counts(node: Any, where: str = 'model') -> Iterator[tuple[str, int]]:
    """Config keys that hold a number of classes, and that number.

    A head that leaves `num_classes` out counts with the default of its class (80 in most of mmdet). Models with a
    language model (GLIP, Grounding DINO) have no fixed number, trackers one per part: they give nothing.

    Args:
        node: Model config.
        where: Its key.
    """
    if isinstance(node, list | tuple):
        for index, child in enumerate(node):
            yield from config_class_counts(child, f'{where}[{index}]')
    elif isinstance(node, Mapping) and not any(key in node for key in _OPEN):
        number = node.get('num_classes', _default(node) if 'head' in where.rsplit('.', 1)[-1] else None)
        if isinstance(number, int) and number > 0:
            yield f'{where}.num_classes', number
        for key, child in node.items():
            if key not in _SKIPPED:
                yield from config_class_counts(child, f'{where}.{key}')


def model_class_counts(model: nn.Module) -> Iterator[tuple[str, int]]:
    """Names of the modules of a built model that have a `num_classes`, and that number; see `config_class_counts`."""
    # An RPN that is trained alone keeps its head by the name of a detection head.
    if isinstance(model, RPN) or any(hasattr(model, key) for key in _OPEN):
        return
    for name, module in model.named_modules():
        number = getattr(module, 'num_classes', None)
        if name and isinstance(number, int) and number > 0 and _SKIPPED.isdisjoint(name.split('.')):
            yield f'model.{name}.num_classes', number


def _default(node: Mapping[str, Any]) -> Any:
    named = node.get('type')
    cls = MODELS.get(named) if isinstance(named, str) else named
    for base in getattr(cls, '__mro__', ()):
        parameter = inspect.signature(base.__init__).parameters.get('num_classes')
        if parameter is not None:
            return parameter.default
    return None
