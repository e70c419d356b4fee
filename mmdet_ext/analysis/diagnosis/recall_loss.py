"""What score threshold, NMS and the limit of boxes cost: raw detections cut as the config does, and otherwise."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from mmcv.ops import batched_nms

from mmdet_ext.evaluation.average_precision import detection_ap, mean_ap
from mmdet_ext.evaluation.matching import PairTable, pair_table
from mmdet_ext.evaluation.objects import ImageObjects, Objects

from .record import ImageRecord
from .record_images import record_images

SETTINGS = ('score_thr', 'nms', 'max_per_img')
LOWEST_SCORE = 0.001
NMS_IOUS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
MOST_BOXES = (100, 300, 1000)


@dataclass(frozen=True)
class DetectionCut:
    """How a `test_cfg` cuts detections.

    Attributes:
        score_thr: Boxes at or below it are dropped.
        nms: Options of mmcv's `batched_nms`; None for none.
        max_per_img: At most this many boxes of an image; None for all.
    """

    score_thr: float = 0.05
    nms: Mapping[str, Any] | None = None
    max_per_img: int | None = None


@dataclass(frozen=True)
class OtherValue:
    """The best other value of one setting, the other settings as they are.

    Attributes:
        value: The present value; of NMS its IoU.
        best: The best of those that were tried; the present one if none is better.
        ap_gain: COCO's AP there, minus that of the config; at least 0.
        recall_gain: Recall at IoU 0.5 there, minus that of the config; may be negative.
    """

    value: float | None
    best: float | None
    ap_gain: float
    recall_gain: float


@dataclass(frozen=True)
class RecallLoss:
    """Where objects are lost on the way from raw detections to results.

    Attributes:
        ap: COCO's AP of raw detections cut as in the config; NaN without objects.
        ap_50: At IoU 0.5.
        recall: Share of the objects that a detection finds at IoU 0.5, step by step: 'any_class' raw detections
            whatever their class, 'raw' those of the right class, then after 'score_thr', 'nms' and 'max_per_img'. NaN
            without objects.
        others: For each of `SETTINGS` that the config has the best other value.
    """

    ap: float
    ap_50: float
    recall: dict[str, float]
    others: dict[str, OtherValue]

    @property
    def gains(self) -> dict[str, float]:
        """AP that each setting costs."""
        return {name: other.ap_gain for name, other in self.others.items()}


def read_cut(test_cfg: Mapping[str, Any] | None) -> DetectionCut:
    """The cut of a detector, from the `test_cfg` of its model; that of the last stage of several."""
    cfg: Mapping[str, Any] = test_cfg or {}
    last = cfg.get('rcnn') or cfg.get('rpn') or cfg
    last = last[-1] if isinstance(last, Sequence) else last
    most = last.get('max_per_img', -1)
    nms = last.get('nms')
    return DetectionCut(
        score_thr=float(last.get('score_thr', 0.0)),
        nms=None if nms is None else dict(nms),
        max_per_img=None if most is None or most < 0 else int(most),
    )


def recall_loss(records: Iterable[ImageRecord], num_classes: int, cut: DetectionCut) -> RecallLoss:
    """Cut raw detections as the config does, and with one setting changed.

    Raw detections and objects of all images are held in memory, 32 bytes for each box. Soft NMS is done as the config
    says; raw boxes that overlap by more than 0.95 were united before.

    Args:
        records: Of one split; detections of classes from C on are left out.
        num_classes: C.
        cut: Of the config.
    """
    images = list(record_images(records, num_classes, raw=True))
    table = _table(images, num_classes)
    recall = {'any_class': _recall(_table(map(_without_classes, images), 1)), 'raw': _recall(table)}
    first = DetectionCut(cut.score_thr)
    for name, step in (('score_thr', first), ('nms', replace(first, nms=cut.nms)), ('max_per_img', cut)):
        table = _table(_cut_all(images, step), num_classes)
        recall[name] = _recall(table)
    precisions = detection_ap(table)
    ap = mean_ap(precisions)
    others = {}
    for name in SETTINGS:
        value, trials = _values(cut, name)
        if value is None:
            continue
        best = OtherValue(value, value, 0.0, 0.0)
        for other, changed in trials.items():
            table = _table(_cut_all(images, changed), num_classes)
            gain = mean_ap(detection_ap(table)) - ap
            if gain > best.ap_gain:
                best = OtherValue(value, other, gain, _recall(table) - recall['max_per_img'])
        others[name] = best
    return RecallLoss(ap, mean_ap(precisions[0]), recall, others)


def cut_detections(found: Objects, cut: DetectionCut) -> Objects:
    """Detections of an image that are left, best first.

    Args:
        found: Raw detections.
        cut: Threshold, NMS and limit; of equal scores the first boxes stay.
    """
    found = found.finite()
    found = found[found.scores > cut.score_thr]
    found = found[np.argsort(-found.scores, kind='stable')]
    if cut.nms is not None and len(found):
        options = dict(cut.nms)
        agnostic = bool(options.pop('class_agnostic', False))
        boxes, scores, labels = (torch.from_numpy(array.copy()) for array in (found.boxes, found.scores, found.labels))
        left, order = batched_nms(boxes, scores, labels, options, class_agnostic=agnostic)
        found = Objects(found.boxes[order.numpy()], found.labels[order.numpy()], left[:, -1].numpy())
    return found[np.arange(len(found))[: cut.max_per_img]]


def _values(cut: DetectionCut, name: str) -> tuple[float | None, dict[float, DetectionCut]]:
    """The present value and cuts with others; None where the config has no such setting."""
    if name == 'score_thr':
        lower = [LOWEST_SCORE] if cut.score_thr > LOWEST_SCORE else []
        return cut.score_thr, {thr: replace(cut, score_thr=thr) for thr in lower}
    if name == 'max_per_img':
        if cut.max_per_img is None:
            return None, {}
        return cut.max_per_img, {n: replace(cut, max_per_img=n) for n in MOST_BOXES if n > cut.max_per_img}
    nms = cut.nms or {}
    if 'iou_threshold' not in nms:
        return None, {}
    value = float(nms['iou_threshold'])
    return value, {iou: replace(cut, nms={**nms, 'iou_threshold': iou}) for iou in NMS_IOUS if iou != value}


def _cut_all(images: Iterable[ImageObjects], cut: DetectionCut) -> Iterable[ImageObjects]:
    return (replace(image, detections=cut_detections(image.detections, cut)) for image in images)


def _table(images: Iterable[ImageObjects], num_classes: int) -> PairTable:
    # The limits are those of the config; COCO's own of 100 boxes would hide what a greater one finds.
    return pair_table(images, num_classes, max_dets=None)


def _recall(table: PairTable) -> float:
    total = len(table.truth_labels)
    return float((table.match(0.5) >= 0).sum() / total) if total else float('nan')


def _without_classes(image: ImageObjects) -> ImageObjects:
    def plain(some: Objects) -> Objects:
        return replace(some, labels=np.zeros(len(some), np.int64))

    return replace(image, truth=plain(image.truth), detections=plain(image.detections))
