"""Thresholds, top-k and NMS laid over stored predictions, and how these were cut when they were stored."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmcv.ops import batched_nms
from mmengine.config import Config

from ..stored_predictions import ImagePredictions

_CONTRADICTION = (
    "The stored predictions do not fit the config's {0}, as there are {1}: they were stored with other settings. "
    'Where they were cut is not known; --cfg-options tells it, with the settings that were used.'
)


@dataclass(frozen=True, order=True)
class Setting:
    """One row of a sweep.

    Attributes:
        nms_iou: IoU above which the lower of two boxes of a class is dropped; None leaves the boxes as they are.
        score_thr: Boxes at or below it are dropped, as in mmdet.
        top_k: At most this many boxes of an image, the best.
    """

    nms_iou: float | None
    score_thr: float
    top_k: int

    def __str__(self) -> str:
        text = f'score threshold {self.score_thr:g}, top-k {self.top_k}'
        return text if self.nms_iou is None else f'{text}, NMS IoU {self.nms_iou:g}'


@dataclass(frozen=True)
class Cut:
    """How the stored predictions were cut; None is not at all, or not known.

    Attributes:
        place: Config key of `test_cfg`, or of its part for boxes.
        score_thr: Of it.
        top_k: Of it.
        nms: Its `nms`.
        contradictions: Sentences on what the predictions show to be otherwise; it counts as not known.
    """

    place: str
    score_thr: float | None
    top_k: int | None
    nms: Mapping[str, Any] | None
    contradictions: tuple[str, ...] = ()


def make_settings(score_thrs: Sequence[float], top_ks: Sequence[int], nms_ious: Sequence[float] = ()) -> list[Setting]:
    """The grid, sorted by NMS, threshold and top-k.

    Raises:
        ValueError: A list is empty, or a value is out of its range.
    """
    if not score_thrs or not top_ks:
        raise ValueError('a sweep needs at least one score threshold and one top-k')
    for thr in score_thrs:
        if not 0 <= thr < 1:
            raise ValueError(f'a score threshold must be at least 0 and below 1, got {thr!r}')
    for top_k in top_ks:
        if not isinstance(top_k, int) or top_k < 1:
            raise ValueError(f'top-k must be a whole number from 1 on, got {top_k!r}')
    for iou in nms_ious:
        if not 0 < iou <= 1:
            raise ValueError(f'an NMS IoU must be above 0 and at most 1, got {iou!r}')
    ious: list[float | None] = [*sorted(set(nms_ious))] or [None]
    return [
        Setting(nms, thr, top_k) for nms in ious for thr in sorted(set(score_thrs)) for top_k in sorted(set(top_ks))
    ]


def stored_cut(cfg: Config, images: Sequence[ImagePredictions]) -> Cut:
    """What the config's `test_cfg` says, as far as the predictions do not contradict it.

    A score below the threshold or an image with more boxes shows that they were stored with other settings.
    """
    test_cfg = cfg.model.get('test_cfg') or {}
    place = 'model.test_cfg'
    if isinstance(test_cfg, Mapping) and test_cfg.get('rcnn'):
        place, test_cfg = f'{place}.rcnn', test_cfg['rcnn']
    # One of each stage, for some cascades.
    test_cfg = test_cfg if isinstance(test_cfg, Mapping) else {}
    thr, top_k = test_cfg.get('score_thr'), test_cfg.get('max_per_img')
    top_k = None if top_k is None or top_k < 0 else top_k
    lowest = min((float(image.scores.min()) for image in images if len(image.scores)), default=math.inf)
    most = max((len(image.scores) for image in images), default=0)
    contradictions = []
    if thr is not None and lowest < thr:
        contradictions.append(_CONTRADICTION.format(f'{place}.score_thr={thr:g}', f'scores down to {lowest:.3g}'))
        thr = None
    if top_k is not None and most > top_k:
        contradictions.append(_CONTRADICTION.format(f'{place}.max_per_img={top_k}', f'{most} boxes in an image'))
        top_k = None
    return Cut(place, thr, top_k, test_cfg.get('nms'), tuple(contradictions))


def cut_notes(settings: Sequence[Setting], cut: Cut, images: Sequence[ImagePredictions]) -> list[str]:
    """Sentences on settings that the stored predictions cannot answer."""
    again = 'store them again by tools/test.py CONFIG CHECKPOINT --out FILE.pkl --cfg-options'
    notes = list(cut.contradictions)
    low = sorted({setting.score_thr for setting in settings if cut.score_thr and setting.score_thr < cut.score_thr})
    if low:
        notes.append(
            f'The stored predictions were cut at a score of {cut.score_thr:g} ({cut.place}.score_thr): the rows at '
            f'{", ".join(f"{thr:g}" for thr in low)} are those at {cut.score_thr:g}. For lower scores {again} '
            f'{cut.place}.score_thr={low[0]:g}.'
        )
    most = max(len(image.scores) for image in images)
    high = sorted({setting.top_k for setting in settings if cut.top_k is not None and setting.top_k > cut.top_k})
    # Below its limit no image has lost a box to it.
    if high and most == cut.top_k:
        notes.append(
            f'The stored predictions were cut at {cut.top_k} boxes per image ({cut.place}.max_per_img): the rows at '
            f'top-k {", ".join(map(str, high))} are those at {cut.top_k}. For more boxes {again} '
            f'{cut.place}.max_per_img={high[-1]}.'
        )
    ious = sorted({setting.nms_iou for setting in settings if setting.nms_iou is not None})
    stored = (cut.nms or {}).get('iou_threshold')
    if ious and stored is not None and stored < 1:
        beyond = [f'{iou:g}' for iou in ious if iou >= stored]
        same = f' The rows at {", ".join(beyond)} hold what NMS at {stored:g} left.' if beyond else ''
        notes.append(
            f'The stored predictions went through NMS at an IoU of {stored:g} ({cut.place}.nms), so a second NMS comes '
            f'near what another threshold would give, and is not the same.{same} For exact rows {again} '
            f'{cut.place}.nms.iou_threshold=1.0.'
        )
    return notes


def apply_nms(images: Sequence[ImagePredictions], iou: float | None, cut: Cut) -> list[ImagePredictions]:
    """Predictions after one more NMS, by class unless the config's is class-agnostic; in order of their scores.

    Args:
        images: Stored predictions.
        iou: Threshold; None leaves out the NMS.
        cut: How they were stored.

    Raises:
        ValueError: The config's NMS changes scores (soft NMS), so that it cannot be done a second time.
    """
    if iou is not None and (kind := (cut.nms or {}).get('type', 'nms')) != 'nms':
        raise ValueError(
            f'{cut.place}.nms is of type {kind!r}, which changes scores or boxes: it cannot be done again on stored '
            "predictions. Leave out --nms-iou, or store predictions of type 'nms'."
        )
    agnostic = bool((cut.nms or {}).get('class_agnostic', False))
    result = []
    for image in images:
        if iou is None or not len(image.scores):
            order = torch.argsort(image.scores, descending=True, stable=True)
        else:
            options = {'type': 'nms', 'iou_threshold': iou}
            _, order = batched_nms(image.bboxes, image.scores, image.labels, options, class_agnostic=agnostic)
        result.append(image.take(order))
    return result


def select(images: Sequence[ImagePredictions], setting: Setting) -> Iterator[ImagePredictions]:
    """Apply threshold and top-k.

    Args:
        images: In order of their scores, see `apply_nms`.
        setting: Its NMS is done.
    """
    for image in images:
        kept = int((image.scores > setting.score_thr).sum())
        yield image.take(torch.arange(min(kept, setting.top_k)))
