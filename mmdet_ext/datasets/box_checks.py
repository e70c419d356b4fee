"""Checks of annotated boxes: finite, of positive size, inside their image; vectorised, formats aside."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .problems import Problem, Severity, listing, severity_of

Floats = NDArray[np.float64]


def check_boxes(
    start: Floats,
    end: Floats,
    limits: Floats,
    ids: Sequence[Any],
    where: str,
    what: str,
    fix: str,
    area: Floats,
    strict: bool = False,
) -> list[Problem]:
    """Judge boxes, each under the first of its faults only.

    Args:
        start: (n, 2) upper left corners x, y in pixels.
        end: (n, 2) lower right corners.
        limits: (n, 2) width and height of each box's image; NaN where unknown.
        ids: n names to cite.
        where: The file.
        what: What `ids` are, such as 'annotation ids'.
        fix: End of the sentence.
        area: (n,) annotated areas; ones where the format has none.
        strict: Whether every fault is an error, for boxes that mmdet neither drops nor clips.
    """
    total = len(ids)
    extent = end - start
    # None: what mmdet drops, clips or survives by itself is judged by its share, see `severity_of`.
    mild: Severity | None = 'error' if strict else None
    kinds: list[tuple[Any, str, Severity | None]] = [
        (~np.isfinite(start + end).all(1), 'are not four finite numbers', 'error'),
        ((extent < 0).any(1), 'have a negative width or height', 'error'),
        ((extent == 0).any(1), 'have zero width or height', mild),
        (~(area > 0), 'have an `area` that is no positive number', mild),
        ((start >= limits).any(1) | (end <= 0).any(1), 'lie outside their image', mild),
        ((start < -1).any(1) | (end > limits + 1).any(1), 'reach more than a pixel beyond their image', mild),
        ((extent < 1).any(1), 'are thinner than a pixel', 'warning'),
    ]
    problems = []
    judged = np.zeros(total, dtype=bool)
    for mask, text, severity in kinds:
        fresh = np.flatnonzero(mask & ~judged)
        judged |= mask
        if len(fresh):
            first = listing([ids[i] for i in fresh[:5]])
            message = f'{len(fresh)} of {total} boxes {text} (first {what} {first}); {fix}'
            problems.append(Problem(severity or severity_of(len(fresh), total), where, message))
    return problems


def number_rows(rows: list[Any], width: int) -> Floats:
    """Rows as float64 (n, width); a row that is not a list of `width` numbers becomes NaN."""
    try:
        array = np.asarray(rows)
    except (ValueError, OverflowError):  # rows of different lengths
        array = np.empty(0, dtype=object)
    if array.dtype.kind in 'iuf' and array.shape == (len(rows), width):
        return array.astype(np.float64)
    usable = [isinstance(row, list) and len(row) == width and all(map(is_number, row)) for row in rows]
    clean = [row if ok else [np.nan] * width for row, ok in zip(rows, usable, strict=True)]
    return np.array(clean, dtype=np.float64).reshape(-1, width)


def is_number(value: object) -> bool:
    """Whether a JSON value is a number (NaN included) that a float can hold."""
    return isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) > 1e300
