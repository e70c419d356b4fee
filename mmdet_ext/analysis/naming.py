"""Annotated and detected objects from files, and which name the detections give to each object."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmdet_ext.datasets.coco_file import read_coco
from mmdet_ext.evaluation.confusion import confusion_matrix
from mmdet_ext.evaluation.objects import ImageObjects, Objects, no_objects

from . import stored_predictions


def read_annotations(ann_file: str | Path, classes: Sequence[str]) -> dict[int, Objects]:
    """Annotated objects by image id, images without objects included; crowds and other categories are left out.

    Raises:
        FileNotFoundError: The annotation file is missing.
        ValueError: It is no COCO file, see `read_coco`.
    """
    coco = read_coco(ann_file)
    labels = {c['id']: classes.index(c['name']) for c in coco['categories'] if c.get('name') in classes}
    found: dict[int, list[tuple[list[float], int]]] = {image['id']: [] for image in coco['images']}
    for annotation in coco['annotations']:
        if annotation['category_id'] in labels and not annotation.get('iscrowd'):
            x, y, w, h = annotation['bbox']
            found[annotation['image_id']].append(([x, y, x + w, y + h], labels[annotation['category_id']]))
    return {
        image_id: Objects([box for box, _ in objects], [label for _, label in objects], np.ones(len(objects)))  # type: ignore[arg-type]
        for image_id, objects in found.items()
    }


def read_predictions(file: str | Path) -> dict[int, Objects]:
    """Detected objects by image id, from the pickle that `tools/test.py --out` writes.

    Raises:
        FileNotFoundError, ValueError: See `stored_predictions.read_predictions`.
    """
    return {
        image.img_id: Objects(image.bboxes.numpy(), image.labels.numpy(), image.scores.numpy())  # type: ignore[misc]
        for image in stored_predictions.read_predictions(file)
    }


def count_names(
    truth: Mapping[int, Objects], detected: Mapping[int, Objects], num_classes: int, score_thr: float = 0.0
) -> NDArray[np.int64]:
    """Count over all images how often objects of each class were given each name.

    Args:
        truth: Annotated objects by image id.
        detected: Detections by image id; an image that is missing here has none.
        num_classes: C.
        score_thr: Detections below it do not count.

    Returns:
        (C, C + 1): row the annotated class, column the name given, last column not found at all.
    """
    images = (ImageObjects(objects, detected.get(image_id, no_objects())) for image_id, objects in truth.items())
    return confusion_matrix(images, num_classes, score_thr=score_thr).sum(0)[:-1]
