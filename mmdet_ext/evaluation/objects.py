"""Objects of one image as arrays, how large they are and how they overlap: what measures of detections read."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pycocotools import mask as coco_mask

SIZES = ('small', 'medium', 'large')
"""COCO's: an area up to 32 x 32 pixels, up to 96 x 96, and beyond."""


@dataclass(frozen=True)
class Objects:
    """Annotated or detected objects of one image; anything that numpy reads as arrays of these shapes.

    Attributes:
        boxes: (n, 4) float32 xyxy in pixels of the image file.
        labels: (n,) index into the class names.
        scores: (n,) confidence; ones for annotated objects.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'boxes', np.asarray(self.boxes, np.float32).reshape(-1, 4))
        object.__setattr__(self, 'labels', np.asarray(self.labels, np.int64))
        object.__setattr__(self, 'scores', np.asarray(self.scores, np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray[Any]) -> 'Objects':
        return Objects(self.boxes[keep], self.labels[keep], self.scores[keep])

    def finite(self) -> 'Objects':
        """Those without a NaN or an infinity in box or score."""
        keep = np.isfinite(self.boxes).all(1) & np.isfinite(self.scores)
        return self if keep.all() else self[keep]


def no_objects() -> Objects:
    """Nothing in the image."""
    return Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True)
class ImageObjects:
    """Annotated and detected objects of one image.

    Attributes:
        truth: Annotated objects.
        detections: In any order.
        ignored: (I, 4) regions, xyxy, in which detections of every class are neither right nor wrong.
    """

    truth: Objects
    detections: Objects
    ignored: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))


def clean_image(image: ImageObjects, number: int, num_classes: int) -> ImageObjects:
    """The image without boxes and scores that have a NaN or an infinity.

    Args:
        image: Any image.
        number: Its place, for the error.
        num_classes: C.

    Raises:
        ValueError: A label is not one of the C classes.
    """
    truth, found = image.truth.finite(), image.detections.finite()
    for what, labels in (('an object', truth.labels), ('a detection', found.labels)):
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if len(wrong):
            raise ValueError(
                f'image {number} has {what} of label {wrong[0]}, but there are {num_classes} classes (labels from 0): '
                'give as many class names as the model and the annotations have'
            )
    return ImageObjects(truth, found, finite_boxes(image.ignored).astype(np.float32))


def finite_boxes(boxes: ArrayLike) -> NDArray[np.float64]:
    """Those rows of (n, 4) that have no NaN and no infinity."""
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    return array[np.isfinite(array).all(1)]


def box_areas(boxes: ArrayLike) -> NDArray[np.float64]:
    """Areas (n,) of boxes (n, 4) xyxy; 0 where a side is not above 0."""
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.clip(corners[:, 2:] - corners[:, :2], 0, None).prod(1)


def size_groups(boxes: ArrayLike) -> NDArray[np.int64]:
    """Index into `SIZES` (n,) of boxes (n, 4) xyxy in pixels of the image file."""
    return np.searchsorted([32.0**2, 96.0**2], box_areas(boxes), side='left').astype(np.int64)


def box_overlaps(boxes: ArrayLike, others: ArrayLike, *, of_first: bool = False) -> NDArray[np.float64]:
    """Overlaps as COCO's evaluation has them, in float64: mmdet's have float32 and another order of operations.

    Args:
        boxes: (n, 4) xyxy.
        others: (k, 4) xyxy.
        of_first: Divide the shared area by the area of the first box (COCO's rule for crowds), not by that of both.

    Returns:
        (n, k); 0 where a box has no area.
    """
    first, second = (_with_sides(some) for some in (boxes, others))
    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    found: NDArray[np.float64] = coco_mask.iou(first, second, [int(of_first)] * len(second))
    return found


def _with_sides(boxes: ArrayLike) -> NDArray[np.float64]:
    # pycocotools reads memory row by row, whatever the strides say.
    corners = np.array(boxes, np.float64, order='C').reshape(-1, 4)
    corners[:, 2:] -= corners[:, :2]
    return corners
