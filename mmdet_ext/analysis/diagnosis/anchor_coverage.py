"""Can anchors (or RoIs) find the objects at all? Best possible recall, and objects without a positive prior."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmdet_ext.evaluation.objects import SIZES, size_groups

from .record import ImageRecord, StageRecord
from .record_images import whole_records

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""IoU at which the best possible recall is measured."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AnchorCoverage:
    """What one head can assign to the objects of a split. Shares are NaN where there are no objects.

    Attributes:
        kind: 'priors' or 'rois'.
        images: How many have this head.
        thresholds: (T,) IoU.
        best_recall: (T,) share of the objects that some prior overlaps by that much.
        size_recall: (3, T) the same for objects of each of `SIZES`.
        best_iou: (4,) 10 %, 25 %, 50 % and 75 % quantiles over objects of the highest overlap with any prior.
        objects: Number of objects.
        size_objects: (3,) of each size.
        without_positive: Share of the objects that no prior is positive for.
        size_without_positive: (3,) the same for each size.
        positives_per_object: Mean number of positives of an object.
        assigned: (3,) mean number per image of positive, negative and ignored priors, before sampling.
        sampled: (2,) mean number per image of positives and negatives that the losses see.
        level_priors: (L,) mean number per image of the priors of each level.
        level_positives: (L,) mean number per image of the positives of each level.
        overlaps: (2,) mean overlap of positives with their objects before and after regression; NaN for none.
    """

    kind: str
    images: int
    thresholds: tuple[float, ...]
    best_recall: Floats
    size_recall: Floats
    best_iou: Floats
    objects: int
    size_objects: NDArray[np.int64]
    without_positive: float
    size_without_positive: Floats
    positives_per_object: float
    assigned: Floats
    sampled: Floats
    level_priors: Floats
    level_positives: Floats
    overlaps: Floats


class _Gathered:
    """Columns of one head; of an image three numbers for each object are kept."""

    def __init__(self, kind: str) -> None:
        self.kind, self.images = kind, 0
        self.assigned, self.sampled = np.zeros(3), np.zeros(2)
        self.priors, self.positives = np.zeros(0), np.zeros(0)
        self.overlap_sum, self.overlap_count = np.zeros(2), np.zeros(2)
        self.iou: list[NDArray] = []
        self.found: list[NDArray] = []
        self.sizes: list[NDArray] = []

    def add(self, stage: StageRecord, boxes: NDArray[np.float32]) -> None:
        self.images += 1
        self.assigned += stage.assigned
        self.sampled += stage.sampled
        self.priors = _sum(self.priors, stage.level_priors)
        self.positives = _sum(self.positives, stage.level_positives)
        # A mean of one image counts as often as it has positives.
        known = np.isfinite(stage.overlaps)
        self.overlap_sum += np.where(known, stage.overlaps, 0) * stage.assigned[0]
        self.overlap_count += known * stage.assigned[0]
        self.iou.append(np.nan_to_num(stage.gt_iou))
        self.found.append(stage.gt_positives)
        self.sizes.append(size_groups(boxes))

    def result(self, thresholds: Sequence[float]) -> AnchorCoverage:
        iou, found, sizes = (np.concatenate(column) for column in (self.iou, self.found, self.sizes))
        groups = [np.ones(len(sizes), bool), *(sizes == size for size in range(len(SIZES)))]
        # float32, as the overlaps are: one of exactly a threshold reaches it.
        reached = iou[:, None] >= np.asarray(thresholds, np.float32)
        recall = np.array([_mean(reached[group]) for group in groups]).reshape(len(groups), len(thresholds))
        lonely = np.array([_mean(found[group, None] == 0)[0] for group in groups])
        with np.errstate(invalid='ignore'):
            overlaps = self.overlap_sum / self.overlap_count
        return AnchorCoverage(
            kind=self.kind,
            images=self.images,
            thresholds=tuple(thresholds),
            best_recall=recall[0],
            size_recall=recall[1:],
            best_iou=np.quantile(iou, (0.1, 0.25, 0.5, 0.75)) if len(iou) else np.full(4, np.nan),
            objects=len(iou),
            size_objects=np.bincount(sizes, minlength=len(SIZES)),
            without_positive=float(lonely[0]),
            size_without_positive=lonely[1:],
            positives_per_object=float(found.mean()) if len(found) else float('nan'),
            assigned=self.assigned / self.images,
            sampled=self.sampled / self.images,
            level_priors=self.priors / self.images,
            level_positives=self.positives / self.images,
            overlaps=overlaps,
        )


def anchor_coverage(
    records: Iterable[ImageRecord], thresholds: Sequence[float] = THRESHOLDS
) -> dict[str, AnchorCoverage]:
    """Coverage of the objects by every head, by its name; one record is held at a time."""
    gathered: dict[str, _Gathered] = {}
    for record in whole_records(records):
        for name, stage in record.stages.items():
            gathered.setdefault(name, _Gathered(stage.kind)).add(stage, record.truth.boxes)
    return {name: columns.result(thresholds) for name, columns in gathered.items()}


def _mean(values: NDArray[np.bool_]) -> Floats:
    """Of the rows (n, T); NaN without any."""
    return values.mean(0) if len(values) else np.full(values.shape[1], np.nan)


def _sum(total: Floats, more: NDArray) -> Floats:
    """Sum of levels; an image may have more of them than those before."""
    result = np.zeros(max(len(total), len(more)))
    result[: len(total)] += total
    result[: len(more)] += more
    return result
