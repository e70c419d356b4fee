"""Which name does a detector give to each annotated object? Finding an object and naming it are told apart."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .objects import SIZES, ImageObjects, Objects, box_overlaps, clean_image, size_groups

NOT_FOUND = -1


def name_objects(truth: Objects, detected: Objects, iou_thr: float = 0.5, score_thr: float = 0.0) -> NDArray[np.int64]:
    """Label of the most confident detection on each annotated object, whatever its class.

    Args:
        truth: n annotated objects.
        detected: Detections in the same image.
        iou_thr: Overlap from which a detection is on an object.
        score_thr: Detections below it do not count.

    Returns:
        (n,) labels; `NOT_FOUND` where no detection is on the object.
    """
    detected = detected[detected.scores >= score_thr]
    if not len(truth) or not len(detected):
        return np.full(len(truth), NOT_FOUND)
    on_object = box_overlaps(truth.boxes, detected.boxes) >= iou_thr
    confidence = np.where(on_object, detected.scores, -1.0)
    best = confidence.argmax(axis=1)
    return np.where(on_object.any(axis=1), detected.labels[best], NOT_FOUND)


def confusion_matrix(
    images: Iterable[ImageObjects], num_classes: int, iou_thr: float = 0.5, score_thr: float = 0.0
) -> NDArray[np.int64]:
    """Count how often objects of each class were given each name, and which names were given to nothing.

    Each object counts once, by `name_objects`; the last column are objects that were not found. The last row are
    detections that are on no object, nor mostly within an ignored region. Boxes with a NaN or an infinity are left out.

    mmdet's tool lets every detection count on every object it overlaps, so its rows have no meaning as shares.

    Args:
        images: Objects and detections, read one image at a time.
        num_classes: C.
        iou_thr: Overlap from which a detection is on an object.
        score_thr: Detections below it do not count.

    Returns:
        (3, C + 1, C + 1) for each of `SIZES`, by the area of the object, in the last row by that of the detection. Row:
        annotated class; column: name given. The sum over the first axis is the matrix of all sizes.

    Raises:
        ValueError: A label is not one of the C classes.
    """
    counts = np.zeros((len(SIZES), num_classes + 1, num_classes + 1), np.int64)
    for number, image in enumerate(images):
        image = clean_image(image, number, num_classes)
        truth, found = image.truth, image.detections[image.detections.scores >= score_thr]
        # NOT_FOUND is the last column.
        np.add.at(counts, (size_groups(truth.boxes), truth.labels, name_objects(truth, found, iou_thr)), 1)
        nothing = box_overlaps(found.boxes, truth.boxes).max(1, initial=0) < iou_thr
        nothing &= box_overlaps(found.boxes, image.ignored, of_first=True).max(1, initial=0) <= iou_thr
        named = found[nothing]
        np.add.at(counts[:, num_classes], (size_groups(named.boxes), named.labels), 1)
    return counts
