"""pycocotools' own figures for images of `detection_case`."""

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def coco_eval(images, num_classes, use_cats=True, max_det=100):
    """COCOeval after `accumulate`; ignored regions are crowds of every class."""
    truth, found = [], []
    for number, one in enumerate(images, start=1):
        rows = [(box, label, 0) for box, label in zip(one.truth.boxes, one.truth.labels, strict=True)]
        rows += [(box, label, 1) for box in one.ignored for label in range(num_classes)]
        for box, label, crowd in rows:
            bbox = with_sides(box)
            truth.append(dict(id=len(truth) + 1, image_id=number, category_id=int(label) + 1, bbox=bbox,
                              area=bbox[2] * bbox[3], iscrowd=crowd))  # fmt: skip
        for box, label, score in zip(one.detections.boxes, one.detections.labels, one.detections.scores, strict=True):
            found.append(dict(image_id=number, category_id=int(label) + 1, bbox=with_sides(box), score=float(score)))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            'images': [dict(id=number + 1) for number in range(len(images))],
            'categories': [dict(id=label + 1) for label in range(num_classes)],
            'annotations': truth,
            'info': {},
        }
        coco.createIndex()
        detections = coco.loadRes(found) if found else COCO()
        if not found:
            detections.dataset = dict(coco.dataset, annotations=[])
            detections.createIndex()
        evaluation = COCOeval(coco, detections, 'bbox')
        evaluation.params.useCats = int(use_cats)
        evaluation.params.maxDets = [max_det]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def coco_precisions(evaluation):
    """AP (T, C) of objects of all sizes; NaN for classes without objects."""
    precision = evaluation.eval['precision'][:, :, :, 0, -1]
    return np.where((precision < 0).all(1), np.nan, precision.mean(1))


def with_sides(box):
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]
