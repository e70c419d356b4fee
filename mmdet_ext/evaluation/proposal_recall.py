"""How many objects do the proposals of an RPN reach, whatever their class?

mmdet's `eval_recalls` fails on numpy from 1.24 on and searches the whole matrix once for every object. The figures here
are the same: of the k best proposals each object gets one of its own, pairs of greatest overlap first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .average_precision import COCO_IOUS, Floats, average_precision
from .matching import choose_pairs
from .objects import SIZES, Objects, box_overlaps, finite_boxes, size_groups

COUNTS = (10, 30, 100, 300, 1000)
"""Numbers of proposals per image at which recall is measured."""


@dataclass(frozen=True)
class ImageProposals:
    """What is kept of one image.

    Attributes:
        overlaps: (K, G) IoU of each object with the proposal it gets, for each number of proposals; 0 for none.
        sizes: (G,) index into `SIZES`.
        scores: (n,) of the best proposals, as many as the greatest number.
        hits: (T, n) at each IoU threshold 1 for a right proposal, 0 for a wrong one, -1 for one in an ignored region.
        proposals: How many there were.
    """

    overlaps: NDArray[np.float32]
    sizes: NDArray[np.int8]
    scores: NDArray[np.float32]
    hits: NDArray[np.int8]
    proposals: int


@dataclass(frozen=True)
class RecallTable:
    """Recall and AP over all images.

    Attributes:
        counts: (K,) numbers of proposals per image.
        iou_thrs: (T,) IoU thresholds.
        recall: (K, T) share of the objects that have a proposal; NaN without objects.
        size_recall: (3, K, T) the same for objects of each of `SIZES`.
        objects: Number of objects.
        size_objects: (3,) of each size.
        ap: Mean over the thresholds of the AP of proposals taken as detections of one class; NaN without objects.
        ap_50: The same at 0.5; NaN where that is none of the thresholds.
        proposals: Mean number of proposals per image; NaN without images.
    """

    counts: tuple[int, ...]
    iou_thrs: tuple[float, ...]
    recall: Floats
    size_recall: Floats
    objects: int
    size_objects: NDArray[np.int64]
    ap: float
    ap_50: float
    proposals: float

    def at(self, count: int, iou_thr: float | None = None, size: str | None = None) -> float:
        """Recall of this many proposals at a threshold (default: the mean over all), for all objects or one of `SIZES`.

        Raises:
            ValueError: It was not measured.
        """
        known = [k for k, thr in enumerate(self.iou_thrs) if iou_thr is None or np.isclose(thr, iou_thr)]
        if count not in self.counts or not known or size not in (None, *SIZES):
            raise ValueError(
                f'recall was measured at {self.counts} proposals, IoU {[round(thr, 3) for thr in self.iou_thrs]} and '
                f'for the sizes {SIZES}, not at {count}, {iou_thr}, {size}'
            )
        table = self.recall if size is None else self.size_recall[SIZES.index(size)]
        return float(table[self.counts.index(count), known].mean())


class ProposalRecall:
    """Gathers images one at a time; a proposal costs 14 bytes with the default thresholds.

    Args:
        counts: Numbers of proposals per image, rising.
        iou_thrs: IoU thresholds.

    Raises:
        ValueError: `counts` or `iou_thrs` is empty, does not rise or is out of its range.
    """

    def __init__(self, counts: Sequence[int] = COUNTS, iou_thrs: Sequence[float] = COCO_IOUS) -> None:
        self.counts, self.iou_thrs = check_counts(counts), check_thresholds(iou_thrs)
        self._images: list[ImageProposals] = []

    def add(self, truth: ArrayLike, proposals: Objects, ignored: ArrayLike = ()) -> None:
        """Measure an image, see `measure_image`."""
        self._images.append(measure_image(truth, proposals, ignored, self.counts, self.iou_thrs))

    def result(self) -> RecallTable:
        """Recall over all images so far."""
        return combine_images(self._images, self.counts, self.iou_thrs)


def check_counts(counts: Sequence[int]) -> tuple[int, ...]:
    """Numbers of proposals as a tuple.

    Raises:
        ValueError: There is none, or they are not whole numbers from 1 on that rise.
    """
    found = tuple(counts) if isinstance(counts, list | tuple) else ()
    if not found or not all(isinstance(n, int) and n > 0 for n in found) or sorted(set(found)) != list(found):
        raise ValueError(f'counts must be whole numbers of proposals from 1 on that rise, got {counts!r}')
    return found


def check_thresholds(iou_thrs: Sequence[float]) -> tuple[float, ...]:
    """IoU thresholds as a tuple.

    Raises:
        ValueError: There is none, or one is not above 0 and up to 1, or they do not rise.
    """
    found = tuple(iou_thrs) if isinstance(iou_thrs, list | tuple) else ()
    if not found or not all(isinstance(thr, int | float) and 0 < thr <= 1 for thr in found):
        raise ValueError(f'iou_thrs must be numbers 0 < IoU <= 1, got {iou_thrs!r}')
    if sorted(set(found)) != list(found):
        raise ValueError(f'iou_thrs must rise, got {iou_thrs!r}')
    return found


def measure_image(
    truth: ArrayLike,
    proposals: Objects,
    ignored: ArrayLike = (),
    counts: Sequence[int] = COUNTS,
    iou_thrs: Sequence[float] = COCO_IOUS,
) -> ImageProposals:
    """Overlaps and hits of one image. Boxes and scores with a NaN or an infinity are left out.

    Args:
        truth: (G, 4) boxes of the objects, xyxy in pixels of the image file.
        proposals: In any order; labels are not read.
        ignored: (I, 4) regions in which proposals are neither right nor wrong.
        counts: Numbers of proposals, rising.
        iou_thrs: IoU thresholds.
    """
    objects, regions = (finite_boxes(some) for some in (truth, ignored))
    number, proposals = len(proposals), proposals.finite()
    best = proposals[np.argsort(-proposals.scores, kind='stable')[: counts[-1]]]
    iou = box_overlaps(best.boxes, objects)
    row, column = np.nonzero(iou)
    values = iou[row, column]
    overlaps = np.zeros((len(counts), len(objects)), np.float32)
    order = np.lexsort((row, column, -values))
    for place, count in enumerate(counts):
        pairs = order[row[order] < count]
        pairs = pairs[choose_pairs(row[pairs], column[pairs])]
        overlaps[place, column[pairs]] = values[pairs]
    # Every proposal chooses by falling score the best of what is left; of equal ones the last, as in COCO's evaluation.
    order = np.lexsort((-column, -values, row))
    inside = box_overlaps(best.boxes, regions, of_first=True).max(1, initial=0)
    hits = np.zeros((len(iou_thrs), len(best)), np.int8)
    for place, thr in enumerate(iou_thrs):
        pairs = order[values[order] >= min(thr, 1 - 1e-10)]
        hits[place, inside >= thr] = -1
        hits[place, row[pairs[choose_pairs(row[pairs], column[pairs])]]] = 1
    return ImageProposals(overlaps, size_groups(objects).astype(np.int8), best.scores, hits, number)


def combine_images(images: Iterable[ImageProposals], counts: Sequence[int], iou_thrs: Sequence[float]) -> RecallTable:
    """Recall and AP over images that were measured with these counts and thresholds."""
    images = list(images)
    overlaps = np.concatenate([np.zeros((len(counts), 0)), *(image.overlaps for image in images)], axis=1)
    sizes = np.concatenate([np.zeros(0, np.int8), *(image.sizes for image in images)])
    scores = np.concatenate([np.zeros(0), *(image.scores for image in images)])
    hits = np.concatenate([np.zeros((len(iou_thrs), 0), np.int8), *(image.hits for image in images)], axis=1)
    hits = hits[:, np.argsort(-scores, kind='stable')]
    precisions = np.array([average_precision(row[row >= 0] > 0, len(sizes)) for row in hits])
    # float32, so that an overlap of exactly a threshold reaches it.
    reached = overlaps[..., None] >= np.asarray(iou_thrs, np.float32)
    at_half = np.isclose(iou_thrs, 0.5)
    return RecallTable(
        counts=tuple(counts),
        iou_thrs=tuple(iou_thrs),
        recall=_share(reached),
        size_recall=np.stack([_share(reached[:, sizes == size]) for size in range(len(SIZES))]),
        objects=len(sizes),
        size_objects=np.bincount(sizes, minlength=len(SIZES)),
        ap=float(precisions.mean()),
        ap_50=float(precisions[at_half].mean()) if at_half.any() else float('nan'),
        proposals=float(np.mean([image.proposals for image in images])) if images else float('nan'),
    )


def _share(reached: NDArray[np.bool_]) -> Floats:
    """Mean over objects (K, G, T) -> (K, T)."""
    count, objects, thresholds = reached.shape
    return reached.mean(1) if objects else np.full((count, thresholds), np.nan)
