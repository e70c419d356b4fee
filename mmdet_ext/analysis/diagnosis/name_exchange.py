"""Are names wrong in a regular way: shifted by a number, or in another order than those of the data?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment


@dataclass(frozen=True)
class NameExchange:
    """The exchange of names after which most found objects are named right.

    Attributes:
        now: Share of the found objects with the right name; NaN where none is found.
        then: The share after the exchange.
        classes: (C,) class that each name stands for; a name that would gain nothing stands for itself if it can.
        offset: k where all names in use stand for the class k places on, the last one followed by the first (the k of
            least size: -1, not C - 1); 0 without an exchange, None for any other one.
    """

    now: float
    then: float
    classes: NDArray[np.int64]
    offset: int | None


def find_exchange(counts: NDArray[np.int64]) -> NameExchange:
    """Find the exchange: the one-to-one assignment of names to classes with most objects named right.

    Args:
        counts: (C, C) found objects, row the class, column the name given: `confusion_matrix` without its last row and
            column.

    Raises:
        ValueError: `counts` is not square.
    """
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f'counts must be (C, C), classes by names given, got the shape {counts.shape}')
    number, total, own = len(counts), int(counts.sum()), np.arange(len(counts))
    if not total:
        return NameExchange(float('nan'), float('nan'), own, 0)
    # Of equally good exchanges the one that moves the fewest names.
    rows, names = linear_sum_assignment(counts * (number + 1) + np.eye(number, dtype=np.int64), maximize=True)
    classes = np.empty_like(own)
    classes[names] = rows
    now, then = (float(counts[rows, columns].sum() / total) for columns in (rows, names))
    if now == then:
        return NameExchange(now, now, own, 0)
    used = counts[classes, own] > 0
    steps = np.unique((classes - own)[used] % number)
    offset = int(steps[0]) if len(steps) == 1 else None
    if offset is not None and offset > number // 2:
        offset -= number
    return NameExchange(now, then, classes, offset)
