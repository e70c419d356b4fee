"""Three ways to number classes, and converters that refuse what does not belong.

- mmdet 3, background last: classes 0 to C - 1, background C (of softmax heads and assigners).
- background first: background 0, classes 1 to C (SSD and Faster R-CNN before mmdet 2.0, VOC's segmentation).
- COCO: any id per category, with gaps (COCO's own 80 are numbers from 1 to 90), no background.

Labels are integers, of any shape, as a tensor or a numpy array; the result is of the same kind and int64.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Labels = TypeVar('Labels', Tensor, NDArray[np.integer])


def background_first_to_last(labels: Labels, num_classes: int) -> Labels:
    """0, 1..C -> C, 0..C-1.

    Args:
        labels: background 0, classes 1 to C.
        num_classes: C, without background.

    Raises:
        ValueError: a label outside of 0 to C, or labels that are no integers.
    """
    values = check_labels(labels, num_classes + 1)
    return _like(torch.where(values == 0, num_classes, values - 1), labels)


def background_last_to_first(labels: Labels, num_classes: int) -> Labels:
    """0..C-1, C -> 1..C, 0; the inverse of `background_first_to_last`, with its arguments and errors."""
    values = check_labels(labels, num_classes + 1)
    return _like(torch.where(values == num_classes, 0, values + 1), labels)


def category_ids_to_labels(ids: Labels, cat_ids: Sequence[int]) -> Labels:
    """COCO category ids -> 0..C-1, their places in `cat_ids`.

    Args:
        ids: of annotations or results.
        cat_ids: the C ids in the order of the class names, such as `dataset.cat_ids` of mmdet.

    Raises:
        ValueError: an id that `cat_ids` lacks, ids that are no integers, or `cat_ids` that is empty or names one twice.
    """
    known = _known(cat_ids)
    values = _integers(ids)
    order = known.argsort().to(values.device)
    ordered = known.to(values.device)[order]
    places = torch.searchsorted(ordered, values).clamp(max=len(known) - 1)
    _refuse(values, ordered[places] != values, f'is none of the category ids {_few(cat_ids)}')
    return _like(order[places], ids)


def labels_to_category_ids(labels: Labels, cat_ids: Sequence[int]) -> Labels:
    """0..C-1 -> COCO category ids; the inverse of `category_ids_to_labels`.

    Raises:
        ValueError: as there, or a label outside of 0 to C - 1 (a background, which COCO has no id for).
    """
    known = _known(cat_ids)
    values = check_labels(labels, len(known))
    return _like(known.to(values.device)[values], labels)


def check_labels(labels: Tensor | NDArray[np.integer], count: int) -> Tensor:
    """The labels as an int64 tensor.

    Args:
        labels: of any shape.
        count: they must be 0 to `count` - 1.

    Raises:
        ValueError: one is not, the first is named by value and position; or they are no integers.
    """
    if count < 1:
        raise ValueError(f'{count} labels are allowed, which is none; num_classes must be 1 or more')
    values = _integers(labels)
    _refuse(values, (values < 0) | (values >= count), f'is outside of 0 to {count - 1}')
    return values


def _integers(labels: Tensor | NDArray[np.integer]) -> Tensor:
    values = torch.as_tensor(labels)
    # An image without objects often has `torch.tensor([])` or `np.zeros(0)`, of floats.
    if values.numel() and (values.is_floating_point() or values.is_complex() or values.dtype == torch.bool):
        raise ValueError(f'labels are {values.dtype}, not integers; convert them, for instance with .long()')
    return values.long()


def _refuse(values: Tensor, bad: Tensor, why: str) -> None:
    if bad.any():
        position = [int(i) for i in bad.nonzero()[0]]
        place = position[0] if len(position) == 1 else tuple(position)
        raise ValueError(f'label {int(values[bad][0])} at position {place} {why} ({int(bad.sum())} such labels)')


def _known(cat_ids: Sequence[int]) -> Tensor:
    if not len(cat_ids) or len(set(cat_ids)) < len(cat_ids):
        raise ValueError(f'the category ids {_few(cat_ids)} must be one per class, each once')
    return torch.tensor([int(i) for i in cat_ids])


def _few(values: Sequence[int]) -> str:
    return f'{list(values[:5])}' + (f' and {len(values) - 5} more' if len(values) > 5 else '')


def _like(values: Tensor, labels: Labels) -> Labels:
    return values if isinstance(labels, Tensor) else values.numpy()
