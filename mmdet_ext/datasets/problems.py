"""What a check of data or of a config finds: one sentence per problem, and the words that such sentences share."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal['error', 'warning']

RARE_SHARE = 1e-3
"""Public sets carry a few bad boxes (COCO train2017: two of 860 001 have height 0), which mmdet drops. Up to this share
of all boxes they are a warning, above it an error."""


@dataclass(frozen=True)
class Problem:
    """One finding.

    Args:
        severity: 'error' (training or testing would fail or learn something wrong) or 'warning' (it works, but parts of
            the data are not used as they stand).
        where: File or config key.
        message: What is wrong there, with ids, and how to fix it; one sentence without a full stop.
    """

    severity: Severity
    where: str
    message: str

    def __str__(self) -> str:
        return f'{self.where}: {self.message}'


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest: ` (nearest: 'nodule')`, or nothing where none is similar."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f' (nearest: {matches[0]!r})' if matches else ''


def listing(values: Sequence[Any], limit: int = 5) -> str:
    """List the first values: `4, 8, 'x' and 3 more`."""
    more = len(values) - limit
    return ', '.join(repr(v) for v in values[:limit]) + (f' and {more} more' if more > 0 else '')


def severity_of(count: int, total: int) -> Severity:
    """Judge boxes that mmdet drops or clips by itself: a rare one is a warning, see `RARE_SHARE`."""
    return 'warning' if count <= RARE_SHARE * total else 'error'
