"""Options, shapes and labels of what a loss is given."""

from collections.abc import Sequence

import torch
from mmdet.models.losses import GaussianFocalLoss, QualityFocalLoss, VarifocalLoss
from torch import Tensor, nn

REDUCTIONS = ('none', 'mean', 'sum')
# mmdet's, whose targets are numbers such as the IoU of a predicted box.
SOFT_TARGET_LOSSES = (GaussianFocalLoss, QualityFocalLoss, VarifocalLoss)


def check_takes_labels(owner: str, name: str, loss: nn.Module) -> None:
    """Raise a `ValueError` where a loss of mmdet, or the one that it wraps, cannot be given labels."""
    for part in (loss, *loss.children()):
        if isinstance(part, SOFT_TARGET_LOSSES):
            raise ValueError(
                f'{owner}: {name}={type(part).__name__} wants soft targets, such as the IoU of a predicted box, and '
                'gets labels; allowed are losses of labels: CrossEntropyLoss, FocalLoss, GHMCLoss'
            )


def check_shape(owner: str, name: str, value: Tensor, allowed: Sequence[Sequence[int]]) -> None:
    """Raise a `ValueError` unless the shape is one of those allowed."""
    if tuple(value.shape) not in [tuple(shape) for shape in allowed]:
        shapes = ' or '.join(str(tuple(shape)) for shape in allowed)
        raise ValueError(f'{owner}: {name} must have the shape {shapes}, got {tuple(value.shape)}')


def check_labels(owner: str, labels: Tensor, valid: Tensor | None, highest: int) -> None:
    """Labels of entries that count lie in 0 ... highest.

    Seen at once on the CPU. On a device a look would stall it, so that it checks for itself and stops the process.

    Args:
        owner: whose input it is.
        labels: (R,) integers.
        valid: (R,) bool, which count; None: all.
        highest: the last label.

    Raises:
        ValueError: a label out of range (CPU).
    """
    wrong = (labels < 0) | (labels > highest)
    wrong = wrong if valid is None else wrong & valid
    text = f'{owner}: labels must be in 0 ... {highest} where the weight is above 0'
    if labels.device.type != 'cpu':
        torch._assert_async(~wrong.any(), text)
    elif wrong.any():
        raise ValueError(f'{text}, got {labels[wrong][0].item()}')


def entry_weights(
    owner: str, pred: Tensor, weight: Tensor | None, dtype: torch.dtype, per_row: bool = False
) -> tuple[Tensor | None, Tensor | None]:
    """Weights as (R, C) or (R, 1) of the predictions seen as (R, C), and which of them count.

    Args:
        owner: whose input it is.
        pred: (..., C).
        weight: as `pred`, unless `per_row`; or without its last dimension, or with 1 there; below 0 is 0. None: all
            are 1.
        dtype: of the result.
        per_row: an entry is a row.

    Raises:
        ValueError: another shape.
    """
    if weight is None:
        return None, None
    rows = [pred.shape[:-1], (*pred.shape[:-1], 1)] if pred.dim() > 1 else []
    check_shape(owner, 'weight', weight, rows if per_row else [pred.shape, *rows])
    columns = pred.shape[-1] if pred.dim() > 1 and weight.shape == pred.shape else 1
    weight = weight.reshape(-1, columns).to(dtype).clamp(min=0)
    return weight, weight > 0
