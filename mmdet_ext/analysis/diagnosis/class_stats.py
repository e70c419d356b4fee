"""AP of every class and size, and which names the detections give."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdet_ext.evaluation.average_precision import Floats
from mmdet_ext.evaluation.coco_figures import coco_figures
from mmdet_ext.evaluation.confusion import confusion_matrix

from .name_exchange import NameExchange, find_exchange
from .record import ImageRecord
from .record_images import record_images


@dataclass(frozen=True)
class ClassStats:
    """COCO's figures of one split by pycocotools, NaN where there are no objects.

    Attributes:
        ap: Mean over the classes with objects and the IoUs 0.5 to 0.95.
        ap_50: At IoU 0.5.
        ap_75: At IoU 0.75.
        recall: Mean recall over the same.
        class_ap: (C,) AP of each class.
        class_ap_50: (C,) at IoU 0.5.
        size_ap: (3,) AP of objects of each of `SIZES`.
        class_size_ap: (C, 3) of each class and size.
        class_objects: (C,) number of objects.
        size_objects: (3,) number of objects.
        confusion: (3, C + 1, C + 1), see `confusion_matrix`.
        exchange: Whether names have been exchanged.
    """

    ap: float
    ap_50: float
    ap_75: float
    recall: float
    class_ap: Floats
    class_ap_50: Floats
    size_ap: Floats
    class_size_ap: Floats
    class_objects: NDArray[np.int64]
    size_objects: NDArray[np.int64]
    confusion: NDArray[np.int64]
    exchange: NameExchange


def class_stats(records: Iterable[ImageRecord], num_classes: int, score_thr: float = 0.05) -> ClassStats:
    """Evaluate the detections of a split, whose objects and detections are held in memory.

    Args:
        records: Detections of classes from C on, which the data do not have, are left out.
        num_classes: C.
        score_thr: Detections below it name no object in `confusion` and `exchange`.

    Raises:
        ValueError: An annotated label is not one of the C classes.
    """
    images = list(record_images(records, num_classes))
    figures = coco_figures(images, num_classes)
    confusion = confusion_matrix(images, num_classes, score_thr=score_thr)
    every = figures.ap[:, :, 0]
    return ClassStats(
        ap=float(_mean(every)),
        ap_50=float(_mean(every[0])),
        ap_75=float(_mean(every[5])),
        recall=float(_mean(figures.recall[:, :, 0])),
        class_ap=_mean(every, 0),
        class_ap_50=every[0],
        size_ap=_mean(figures.ap[:, :, 1:], (0, 1)),
        class_size_ap=_mean(figures.ap[:, :, 1:], 0),
        class_objects=confusion.sum((0, 2))[:-1],
        size_objects=figures.size_objects,
        confusion=confusion,
        exchange=find_exchange(confusion.sum(0)[:-1, :-1]),
    )


def _mean(values: Floats, axis: int | tuple[int, ...] | None = None) -> Floats:
    """Of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid='ignore'):
        return np.asarray(np.where(known, values, 0).sum(axis) / known.sum(axis))
