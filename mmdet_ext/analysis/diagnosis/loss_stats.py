"""Losses of single images: quantiles of train and val side by side, and the worst images."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .record import ImageRecord
from .record_images import whole_records

TOTAL = 'total'
"""Name of the sum of all terms."""


@dataclass(frozen=True)
class LossQuantiles:
    """One loss term over the images of a split; images whose term is not finite are left out.

    Attributes:
        images: Number of images.
        mean: Mean.
        min: Least.
        q25: First quartile.
        median: Median.
        q75: Third quartile.
        q90: 90 % quantile.
        max: Greatest.
        above_one: Number of images with more than 1.
    """

    images: int
    mean: float
    min: float
    q25: float
    median: float
    q75: float
    q90: float
    max: float
    above_one: int


@dataclass(frozen=True)
class ImageLoss:
    """The losses of one image."""

    index: int
    img_id: int | str
    file: str
    losses: Mapping[str, float]
    total: float


@dataclass(frozen=True)
class LossStats:
    """Losses of one split.

    Attributes:
        terms: Quantiles of every term in the order of the model, then of `TOTAL`; empty without losses.
        worst: The images of greatest sum, worst first.
        not_finite: Images with a NaN or an infinity in a term.
    """

    terms: Mapping[str, LossQuantiles]
    worst: Sequence[ImageLoss]
    not_finite: Sequence[ImageLoss]


def loss_stats(records: Iterable[ImageRecord], worst: int = 10) -> LossStats:
    """Quantiles of every term and the worst images; one record is held at a time.

    Args:
        records: Of one split. Images without losses do not count.
        worst: How many images to name.

    Raises:
        ValueError: `worst` is negative.
    """
    if worst < 0:
        raise ValueError(f'the number of worst images must be 0 or more, got {worst}')
    rows = [
        ImageLoss(record.index, record.img_id, record.file, dict(record.losses), record.loss)
        for record in whole_records(records)
        if record.losses
    ]
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.losses.items():
            values.setdefault(name, []).append(value)
    if rows:
        values[TOTAL] = [row.total for row in rows]
    finite = [row for row in rows if math.isfinite(row.total)]
    return LossStats(
        terms={name: quantiles(column) for name, column in values.items()},
        worst=sorted(finite, key=lambda row: (-row.total, row.index))[:worst],
        not_finite=[row for row in rows if not math.isfinite(row.total)],
    )


def quantiles(values: Sequence[float]) -> LossQuantiles:
    """Quantiles of numbers; those that are not finite are left out, without any left all are NaN."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    low, first, median, third, tenth, high = (
        np.quantile(known, (0, 0.25, 0.5, 0.75, 0.9, 1)).tolist() if len(known) else [math.nan] * 6
    )
    return LossQuantiles(
        images=len(known),
        mean=float(known.mean()) if len(known) else math.nan,
        min=low,
        q25=first,
        median=median,
        q75=third,
        q90=tenth,
        max=high,
        above_one=int((known > 1).sum()),
    )


def loss_table(stats: Mapping[str, LossStats]) -> tuple[list[str], list[list[str]]]:
    """The splits side by side, a row for each term and split: as seed 000's two lists of forty losses.

    Args:
        stats: By the name of the split.

    Returns:
        Head and rows for `markdown_table`; the last row is the ratio of the medians of `TOTAL`, where there are two
        splits with losses and the first one's median is not 0.
    """
    head = ['term', 'split', 'images', 'mean', 'median', '25 %', '75 %', '90 %', 'least', 'greatest', 'above 1']
    names = [name for name in dict.fromkeys(name for one in stats.values() for name in one.terms) if name != TOTAL]
    rows = []
    for name in [*names, TOTAL]:
        for split, one in stats.items():
            if name in one.terms:
                row = one.terms[name]
                numbers = (row.mean, row.median, row.q25, row.q75, row.q90, row.min, row.max)
                rows.append(
                    [name, split, str(row.images), *(f'{number:.4g}' for number in numbers), str(row.above_one)]
                )
    medians = {split: one.terms[TOTAL].median for split, one in stats.items() if TOTAL in one.terms}
    if len(medians) == 2:
        (first, low), (second, high) = medians.items()
        if low > 0 and math.isfinite(high):
            rows.append([f'{TOTAL}: {second} / {first}', '', '', '', f'{high / low:.3g}', *[''] * 6])
    return head, rows
