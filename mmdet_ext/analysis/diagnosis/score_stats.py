"""Is everything an object? Scores of the priors that a head calls positive, negative and ignored."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .record import SCORE_BINS, ImageRecord
from .record_images import whole_records


@dataclass(frozen=True)
class ScoreStats:
    """Scores of one head over all images of a split.

    Attributes:
        images: How many have this head.
        histograms: (3, SCORE_BINS) priors by their highest foreground score: positives, negatives, ignored.
        positives_above: Share of the positives above 0.5; NaN without any.
        negatives_above: Share of the negatives above 0.5.
        all_above: Share of all priors above 0.5: seed 000's "nearly everything is an object" has 1 here.
        separation: Chance that a positive has a higher score than a negative (the area under the ROC curve, ties and
            equal bins count half); 0.5 is a head that knows nothing, NaN without positives or negatives.
    """

    images: int
    histograms: NDArray[np.int64]
    positives_above: float
    negatives_above: float
    all_above: float
    separation: float


def score_stats(records: Iterable[ImageRecord]) -> dict[str, ScoreStats]:
    """Sum the histograms of every head, by its name; one record is held at a time."""
    sums: dict[str, NDArray[np.int64]] = {}
    images: dict[str, int] = {}
    for record in whole_records(records):
        for name, stage in record.stages.items():
            sums[name] = sums.get(name, np.zeros((3, SCORE_BINS), np.int64)) + stage.histograms
            images[name] = images.get(name, 0) + 1
    return {name: _stats(counts, images[name]) for name, counts in sums.items()}


def _stats(counts: NDArray[np.int64], images: int) -> ScoreStats:
    positives, negatives, _ = counts
    below = np.cumsum(negatives) - negatives / 2
    pairs = int(positives.sum()) * int(negatives.sum())
    return ScoreStats(
        images=images,
        histograms=counts,
        positives_above=_share_above(positives),
        negatives_above=_share_above(negatives),
        all_above=_share_above(counts.sum(0)),
        separation=float((positives * below).sum() / pairs) if pairs else float('nan'),
    )


def _share_above(counts: NDArray[np.int64]) -> float:
    total = counts.sum()
    return float(counts[SCORE_BINS // 2 :].sum() / total) if total else float('nan')
