"""Average precision at 101 recalls, as COCO has it, of one class and of all of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .matching import Flags, Ints, PairTable

Floats = NDArray[np.float64]
COCO_IOUS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.5, 0.55 to 0.95, with the roundings of pycocotools."""
COCO_RECALLS: Floats = np.linspace(0.0, 1.0, 101)
"""0, 0.01 to 1, with the roundings of pycocotools; they decide where a recall is one of these numbers."""


def average_precision(hits: Flags, num_truth: int, recalls: Floats = COCO_RECALLS) -> float:
    """Mean of the envelope of precision at these recalls.

    Args:
        hits: (n,) whether each detection is right, by falling score; those to be ignored left out.
        num_truth: How many objects there are.
        recalls: Where precision is read; it is 0 beyond the recall that is reached.

    Returns:
        AP in [0, 1]; 0 without detections, NaN without objects.
    """
    if not num_truth:
        return float('nan')
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(right) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(right / num_truth, recalls, side='left')
    return float(np.append(envelope, 0.0)[at].mean())


def class_precisions(
    labels: Ints, hits: Flags, num_truth: Ints, keep: Flags | None = None, recalls: Floats = COCO_RECALLS
) -> Floats:
    """AP (C,) of every class.

    Args:
        labels: (D,) classes of detections by falling score.
        hits: (D,) whether each is right.
        num_truth: (C,) objects of each class.
        keep: (D,) which of them count; default all.
        recalls: See `average_precision`.

    Returns:
        (C,) AP, NaN for classes without objects.
    """
    if keep is not None:
        labels, hits = labels[keep], hits[keep]
    order = np.argsort(labels, kind='stable')
    bounds = np.searchsorted(labels[order], np.arange(len(num_truth) + 1))
    hits = hits[order]
    return np.array([
        average_precision(hits[start:stop], int(number), recalls)
        for start, stop, number in zip(bounds, bounds[1:], num_truth, strict=False)
    ])  # fmt: skip


def detection_ap(table: PairTable, iou_thrs: Sequence[float] = COCO_IOUS) -> Floats:
    """COCO's AP of every class at every threshold, for objects of all sizes.

    Equal to pycocotools' where ignored regions are crowds of all classes and ties of scores are between images given in
    the order of their ids.

    Args:
        table: From `pair_table` with COCO's rules, `min_iou` not above these thresholds.
        iou_thrs: T thresholds.

    Returns:
        (T, C), NaN for classes without objects.
    """
    rows = []
    for thr in iou_thrs:
        hits = table.match(thr) >= 0
        keep = hits | (table.ignored < min(thr, 1 - 1e-10))
        rows.append(class_precisions(table.labels, hits, table.num_truth, keep))
    return np.array(rows).reshape(len(iou_thrs), table.num_classes)


def mean_ap(precisions: Floats) -> float:
    """Mean over classes (and thresholds) with objects; NaN where there is none."""
    known = precisions[np.isfinite(precisions)]
    return float(known.mean()) if known.size else float('nan')
