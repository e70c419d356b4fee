"""pycocotools' evaluation of objects that are in memory."""

import contextlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .average_precision import Floats
from .objects import SIZES, ImageObjects, box_areas, clean_image


@dataclass(frozen=True)
class CocoFigures:
    """COCO's figures with at most 100 detections of each class in an image; NaN where there are no objects.

    Attributes:
        ap: (T, C, 4) AP at the IoUs 0.5 to 0.95 of each class, for objects of all sizes and of each of `SIZES`.
        recall: (T, C, 4) recall.
        size_objects: (3,) number of objects of each of `SIZES`; COCO's sizes share their bounds.
    """

    ap: Floats
    recall: Floats
    size_objects: NDArray[np.int64]


def coco_figures(images: Iterable[ImageObjects], num_classes: int) -> CocoFigures:
    """Evaluate images; boxes and scores with a NaN or an infinity are left out.

    Sizes are by the area of the box. A region to be ignored is a crowd of every class that was detected in its image.

    Args:
        images: Objects and detections; all are held in memory, as pycocotools does.
        num_classes: C.

    Raises:
        ValueError: A label is not one of the C classes.
    """
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    count = 0
    for number, image in enumerate(images):
        image, count = clean_image(image, number, num_classes), number + 1
        objects, detections = image.truth, image.detections
        truth.extend(_rows(number, objects.boxes, objects.labels))
        for label in np.unique(detections.labels):
            truth.extend(_rows(number, image.ignored, np.full(len(image.ignored), label), iscrowd=1))
        rows = _rows(number, detections.boxes, detections.labels)
        found.extend(row | {'score': float(score)} for row, score in zip(rows, detections.scores, strict=True))
    shape = (10, num_classes, 1 + len(SIZES))
    if not count or not num_classes:
        return CocoFigures(np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(len(SIZES), np.int64))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_coco(truth, count, num_classes), _coco(found, count, num_classes), 'bbox')
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = (evaluation.eval[name][..., 0] for name in ('precision', 'recall'))
    areas = np.array([row['area'] for row in truth if not row['iscrowd']])
    low, high = np.array(evaluation.params.areaRng[1:]).T
    return CocoFigures(
        ap=np.where((precision < 0).any(1), np.nan, precision.mean(1)),
        recall=np.where(recall < 0, np.nan, recall),
        size_objects=((areas[:, None] >= low) & (areas[:, None] <= high)).sum(0),
    )


def _rows(image: int, boxes: NDArray, labels: NDArray, iscrowd: int = 0) -> Iterator[dict[str, Any]]:
    """Boxes of an image as COCO's annotations, without ids."""
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    corners[:, 2:] -= corners[:, :2]
    for box, label, area in zip(corners.tolist(), labels.tolist(), box_areas(boxes).tolist(), strict=True):
        yield {'image_id': image, 'category_id': label, 'bbox': box, 'area': area, 'iscrowd': iscrowd}


def _coco(rows: list[dict[str, Any]], images: int, num_classes: int) -> COCO:
    coco = COCO()
    coco.dataset = {
        'images': [{'id': number} for number in range(images)],
        'categories': [{'id': label} for label in range(num_classes)],
        # Not from 0 on: for pycocotools that is no match.
        'annotations': [row | {'id': number} for number, row in enumerate(rows, start=1)],
    }
    coco.createIndex()
    return coco
