"""What a config may say about a dense head, and what becomes of it."""

import inspect
import warnings
from collections.abc import Sequence
from typing import Any

from mmdet.models import losses
from torch import nn

from mmdet_ext.models.losses import CompleteIoULoss

from .yolo_maps import OBJ_TARGETS

SMALL_OBJ_WEIGHTS = (None, '2-area')
BOX_LOSSES = (
    CompleteIoULoss,
    losses.BoundedIoULoss,
    losses.CIoULoss,
    losses.DIoULoss,
    losses.EIoULoss,
    losses.GIoULoss,
    losses.IoULoss,
    losses.SIoULoss,
)


def check_single_shot(
    stacked_convs: int,
    shared_convs: int,
    cls_prior: float,
    small_obj_weight: str | None,
    focal_gamma: float,
    owner: str,
) -> None:
    """Raise a `ValueError` with a sentence where one of these options of a `SingleShotHead` cannot be."""
    for name, number in (('stacked_convs', stacked_convs), ('shared_convs', shared_convs)):
        if not isinstance(number, int) or number < 0:
            raise ValueError(f'{owner}: {name} must be an integer of at least 0, got {number!r}')
    if not 0 < cls_prior < 1:
        raise ValueError(f'{owner}: cls_prior is a probability between 0 and 1, got {cls_prior!r}')
    if small_obj_weight not in SMALL_OBJ_WEIGHTS:
        raise ValueError(f'{owner}: small_obj_weight={small_obj_weight!r}, allowed are {SMALL_OBJ_WEIGHTS}')
    if focal_gamma < 0:
        raise ValueError(f'{owner}: focal_gamma must be at least 0, got {focal_gamma!r}')


def check_retina_face(num_landmarks: int, kernel_size: int, owner: str) -> None:
    """Raise a `ValueError` with a sentence where one of these options of a `RetinaFaceHead` cannot be."""
    if not isinstance(num_landmarks, int) or num_landmarks < 0:
        raise ValueError(
            f'{owner}: num_landmarks must be an integer of at least 0 (no landmarks), got {num_landmarks!r}'
        )
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f'{owner}: kernel_size must be an odd integer, got {kernel_size!r}')


def check_yolo(
    obj_target: str,
    level_weights: Sequence[float] | None,
    scale_xy: float,
    featmap_strides: Sequence[int],
    prior_generator: Any,
) -> None:
    """Raise a `ValueError` with a sentence where options of `YOLOIoUHead` cannot be or do not fit together.

    Warns when all anchors are smaller than a cell: then they are likely to be given in cells, not in pixels.
    """
    if obj_target not in OBJ_TARGETS:
        raise ValueError(f'YOLOIoUHead: obj_target={obj_target!r}, allowed are {OBJ_TARGETS}')
    if level_weights is not None and (len(level_weights) != len(featmap_strides) or min(level_weights) < 0):
        raise ValueError(
            f'YOLOIoUHead: level_weights={tuple(level_weights)} must be one number of at least 0 for each of the '
            f'strides {tuple(featmap_strides)}'
        )
    if not scale_xy >= 1:
        raise ValueError(f'YOLOIoUHead: scale_xy must be at least 1, got {scale_xy!r}')
    strides = [tuple(pair) for pair in prior_generator.strides]
    if strides != [(stride, stride) for stride in featmap_strides]:
        raise ValueError(
            f'YOLOIoUHead: featmap_strides={tuple(featmap_strides)} and the strides {strides} of the anchor generator '
            f'differ'
        )
    sizes = zip(prior_generator.base_sizes, featmap_strides, strict=True)
    if all(max(pair) < stride for pairs, stride in sizes for pair in pairs):
        warnings.warn(
            f'YOLOIoUHead: every anchor of {prior_generator.base_sizes} is smaller than the stride of its level; '
            f'base_sizes are in pixels, not in cells',
            stacklevel=3,
        )


def check_assigner(assigner: Any, owner: str) -> None:
    """Raise a `ValueError` when an assigner wants more than priors, ground truth and regions to be ignored."""
    parameters = inspect.signature(assigner.assign).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    if len(needed) > 3 or 'gt_instances' in needed[2:]:
        raise ValueError(
            f'{owner}: {type(assigner).__name__}.assign takes {", ".join(needed)}, but this head gives predictions, '
            f'ground truths and ignored regions; use YOLOAssigner, MaxIoUAssigner or their kind'
        )


def check_box_loss(loss: nn.Module, reg_decoded_bbox: bool, owner: str) -> None:
    """Warn when a loss of boxes is to compare what a coder has made of them, which is never meant."""
    if isinstance(loss, BOX_LOSSES) and not reg_decoded_bbox:
        warnings.warn(
            f'{owner}: loss_bbox={type(loss).__name__} compares boxes, but would get encoded deltas; set '
            f'reg_decoded_bbox=True',
            stacklevel=3,
        )


def check_sampler(sampler: Any, owner: str) -> None:
    """Raise a `ValueError` when the indices that the sampler gives would not be those of the priors."""
    if getattr(sampler, 'add_gt_as_proposals', False):
        raise ValueError(
            f'{owner}: {type(sampler).__name__} adds ground truth to the priors, for which the head has no prediction; '
            f'set add_gt_as_proposals=False in train_cfg.sampler'
        )


def check_loss(loss: nn.Module, name: str, owner: str) -> None:
    """Raise a `ValueError` when a loss does not divide its sum by what the head counted, or wants a call per level."""
    reduction = getattr(loss, 'reduction', 'mean')
    if reduction != 'mean':
        raise ValueError(
            f"{owner}: {name} has reduction={reduction!r}, needed is 'mean': the head counts what to divide by "
            f'(OHEMLoss around a loss mines negatives)'
        )
    if getattr(loss, 'scope', None) == 'level':
        raise ValueError(
            f"{owner}: {name} has scope='level', but is called once over all levels; set scope='batch', or use a head "
            f'of mmdet, such as RetinaHead, which calls it for every level'
        )


def uses_sigmoid(loss: nn.Module, name: str, owner: str) -> bool:
    """Whether a classification loss trains sigmoids, as the built loss says, or the loss that it wraps.

    Raises:
        ValueError: it does not say, or it wants probabilities, or it brings an activation of its own.
    """
    kind = type(loss).__name__
    wrapped = [loss, *loss.children()]
    if any(getattr(part, 'custom_cls_channels', False) for part in wrapped):
        raise ValueError(
            f'{owner}: {name}={kind} brings an activation of its own; allowed are sigmoid and softmax losses'
        )
    if any(getattr(part, 'activated', False) for part in wrapped):
        raise ValueError(f'{owner}: {name}={kind} has activated=True, but gets logits; leave activated out')
    said = [part.use_sigmoid for part in wrapped if hasattr(part, 'use_sigmoid')]
    if not said:
        raise ValueError(
            f'{owner}: {name}={kind} has no attribute use_sigmoid, so training and prediction could differ; '
            f'give the loss one (True: sigmoid, False: softmax with the background last)'
        )
    return bool(said[0])
