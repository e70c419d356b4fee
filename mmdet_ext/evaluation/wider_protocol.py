"""The official evaluation protocol of WIDER FACE (Yang et al., CVPR 2016), without loops over thresholds or boxes.

Detections are taken by falling score. Each looks at the face that it overlaps most. Where the IoU reaches 0.5, the
first one to reach a face is right and further ones are wrong; one whose face does not count in the setting is left out.
Scores are stretched to [0, 1] over all images, precision and recall are taken at 1000 thresholds, and AP is the area
under the envelope of precision (VOC 2010).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .face_truth import Flags, Floats

Ints = NDArray[np.int64]


def nearest_faces(boxes: Floats, faces: Floats, iou_thr: float = 0.5) -> Ints:
    """The face that each detection looks at.

    Widths and heights are x2 - x1 + 1 and y2 - y1 + 1, as in the official code.

    Args:
        boxes: Detections (n, 4), x1, y1, x2, y2.
        faces: Faces (k, 4), also those that do not count.
        iou_thr: Overlap that a match needs.

    Returns:
        (n,) index of the face of greatest IoU, the first of equal ones; -1 below `iou_thr`.
    """
    if not len(faces) or not len(boxes):
        return np.full(len(boxes), -1, np.int64)
    low, high = np.maximum(boxes[:, None, :2], faces[:, :2]), np.minimum(boxes[:, None, 2:], faces[:, 2:])
    shared = np.clip(high - low + 1, 0, None).prod(-1)
    areas = [(some[:, 2:] - some[:, :2] + 1).prod(-1) for some in (boxes, faces)]
    union = areas[0][:, None] + areas[1] - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    best = iou.argmax(1)
    return np.where(iou[np.arange(len(boxes)), best] >= iou_thr, best, -1).astype(np.int64)


def stretch_scores(scores: Floats) -> Floats:
    """Scores of all images to [0, 1]; 1 where all are equal, for which the official code divides by zero."""
    if not len(scores):
        return scores
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones_like(scores)


def average_precision(
    scores: Sequence[Floats], nearest: Sequence[Ints], keeps: Sequence[Flags], num_thresholds: int = 1000
) -> float:
    """AP of one setting.

    Args:
        scores: For each image its stretched scores (n,), falling.
        nearest: For each image the faces (n,) of `nearest_faces`.
        keeps: For each image which faces (k,) count.
        num_thresholds: Thresholds 1 - t / num_thresholds, t from 1 on.

    Returns:
        AP in [0, 1]; -1 where no face counts.
    """
    kept = np.concatenate([np.zeros(0, bool), *keeps])
    if not kept.any():
        return -1.0
    starts = np.cumsum([0, *(len(k) for k in keeps)])[:-1]
    face = np.concatenate([np.where(one >= 0, one + start, -1) for one, start in zip(nearest, starts, strict=True)])
    score = np.concatenate(scores)
    matched = face >= 0
    counts = ~matched
    counts[matched] = kept[face[matched]]
    claims = np.flatnonzero(matched & counts)
    right = np.zeros(len(face), bool)
    right[claims[np.unique(face[claims], return_index=True)[1]]] = True
    thresholds = 1 - np.arange(1, num_thresholds + 1) / num_thresholds
    first = num_thresholds - np.searchsorted(thresholds[::-1], score, side='right')  # the highest one that it reaches
    shown, found = (
        np.bincount(first[some], minlength=num_thresholds)[:num_thresholds].cumsum() for some in (counts, right)
    )
    precision = np.divide(found, shown, out=np.zeros(num_thresholds), where=shown > 0)
    return _area(found / kept.sum(), precision)


def _area(recall: Floats, precision: Floats) -> float:
    """Area under the envelope of a curve, recall rising."""
    recall, precision = np.concatenate([[0.0], recall, [1.0]]), np.concatenate([[0.0], precision, [0.0]])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope[1:]).sum())
