"""Error types of a detector and what each costs: TIDE (Bolya et al., ECCV 2020, sections 2.2 and 2.3).

The package `tidecv` has the same figures, but needs pandas, seaborn and an OpenCV with windows, and holds a dictionary
for every detection. The tests compare the two. Ours differ from version 1.0.1 in this:

- AP is between 0 and 1, and detections of equal scores keep their order, also where an error is repaired.
- A detection in an ignored region may repair an object, as there, but is not counted as an error.
- There are gains for single classes, and counts for sizes and classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .average_precision import Floats, class_precisions
from .matching import Flags, Ints, PairTable, pair_table
from .objects import SIZES, ImageObjects

ERRORS = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
"""In this order: right place but wrong class; right class but a box too far off; both of it; one more box on an object
that has its own; nothing there; an object that no detection was near enough to be one of the first two errors of."""
_RECALLS = np.arange(101) / 100
_DETECTED = 5  # errors of detections come first, the last one is of objects


@dataclass(frozen=True)
class TideErrors:
    """How many errors there are, and how much AP would return without those of one type ("dAP").

    Gains do not add up to what lacks, for one error hides another.

    Attributes:
        ap: Mean over the classes with objects or detections, as in TIDE: a class without objects counts as 0.
        gains: For each of `ERRORS` what is gained when all such errors are repaired, at least 0.
        counts: For each of `ERRORS` their number.
        false_positives: What is gained when all wrong detections have score 0.
        false_negatives: What is gained when objects without a detection are no objects.
        class_ap: (C,) NaN for classes with neither objects nor detections.
        class_gains: For each of `ERRORS` (C,) how the AP of a class rises when all such errors are repaired; 0 for
            classes without AP.
        class_counts: For each of `ERRORS` (C,) their number, by the class of the detection (missed: of the object).
        size_gains: For each of `SIZES` as `gains`, with only those errors repaired that are of this size: of the object
            for the wrong class, the wrong place and the missed ones, of the detection for the others.
        size_counts: For each of `SIZES` as `counts`.
    """

    ap: float
    gains: dict[str, float]
    counts: dict[str, int]
    false_positives: float
    false_negatives: float
    class_ap: Floats
    class_gains: dict[str, Floats]
    class_counts: dict[str, Ints]
    size_gains: dict[str, dict[str, float]]
    size_counts: dict[str, dict[str, int]]


@dataclass(frozen=True)
class _State:
    """What AP is computed from.

    Attributes:
        labels: (D,) of the detections.
        hits: (D,) whether they are right.
        keep: (D,) whether they count at all.
        truth: (C,) number of objects.
    """

    labels: Ints
    hits: Flags
    keep: Flags
    truth: Ints

    def class_ap(self) -> Floats:
        """(C,) NaN for classes with nothing."""
        found = class_precisions(self.labels, self.hits, self.truth, self.keep, _RECALLS)
        shown = np.bincount(self.labels[self.keep], minlength=len(self.truth))
        return np.where((self.truth == 0) & (shown > 0), 0.0, found)


@dataclass(frozen=True)
class _Errors:
    """Which error each detection and object is.

    Attributes:
        kind: (D,) index into `ERRORS`, -1 for right detections.
        target: (D,) object of the wrong class or place that the detection is near, -1 for none.
        repairs: (D,) whether the detection would be the right one of its target.
        missed: (G,) objects that nothing can repair.
        size: (D,) index into `SIZES`.
    """

    kind: Ints
    target: Ints
    repairs: Flags
    missed: Flags
    size: Ints


def tide_errors(
    images: Iterable[ImageObjects],
    num_classes: int,
    pos_thr: float = 0.5,
    background_thr: float = 0.1,
    max_dets: int | None = 100,
) -> TideErrors:
    """Sort out the errors of a detector.

    Args:
        images: Objects and detections, read one image at a time. Boxes with a NaN or an infinity are left out.
        num_classes: C.
        pos_thr: IoU from which a detection is on an object.
        background_thr: IoU up to which it is on nothing.
        max_dets: The best detections of an image that count; None for all.

    Raises:
        ValueError: The thresholds are not 0 < `background_thr` < `pos_thr` <= 1, or a label is not one of the classes.
    """
    if not 0 < background_thr < pos_thr <= 1:
        raise ValueError(
            f'TIDE needs 0 < background_thr < pos_thr <= 1, got background_thr={background_thr!r}, pos_thr={pos_thr!r}'
        )
    table = pair_table(images, num_classes, 'tide', max_dets)
    found = table.match(pos_thr)
    ignored = (found < 0) & (table.ignored > pos_thr)
    used = np.zeros(len(table.truth_labels), bool)
    used[found[found >= 0]] = True
    errors = _classify(table, found >= 0, used, pos_thr, background_thr)
    state = _State(table.labels, found >= 0, ~ignored, table.num_truth)
    base = state.class_ap()

    def repaired(kind: int, size: int | None = None) -> Floats:
        return _repair(state, errors, kind, size, table).class_ap()

    after = [repaired(kind) for kind in range(len(ERRORS))]
    labels = [table.labels[(errors.kind == kind) & ~ignored] for kind in range(_DETECTED)]
    sizes = [errors.size[(errors.kind == kind) & ~ignored] for kind in range(_DETECTED)]
    labels.append(table.truth_labels[errors.missed])
    sizes.append(table.truth_sizes[errors.missed])
    size_counts = [np.bincount(some, minlength=len(SIZES)) for some in sizes]
    unused = np.bincount(table.truth_labels[~used], minlength=num_classes)
    # A class that has wrong detections only keeps its 0 without them.
    precise = np.where(np.isnan(base), np.nan, np.nan_to_num(replace(state, keep=state.keep & state.hits).class_ap()))
    return TideErrors(
        ap=_mean(base),
        gains=_by_error(_gain(base, one) for one in after),
        counts=_by_error(len(some) for some in labels),
        false_positives=_difference(base, precise),
        false_negatives=_difference(base, replace(state, truth=state.truth - unused).class_ap()),
        class_ap=base,
        class_gains=_by_error(np.nan_to_num(np.maximum(one - base, 0)) for one in after),
        class_counts=_by_error(np.bincount(some, minlength=num_classes) for some in labels),
        size_gains={
            name: _by_error(_gain(base, repaired(kind, size)) for kind in range(len(ERRORS)))
            for size, name in enumerate(SIZES)
        },
        size_counts={name: _by_error(int(some[size]) for some in size_counts) for size, name in enumerate(SIZES)},
    )


def _classify(table: PairTable, right: Flags, used: Flags, pos_thr: float, background_thr: float) -> _Errors:
    """The first of these that fits: place, class, duplicate, background; what is left is both (TIDE's order)."""
    same = table.same_class
    near, near_iou = _best_pair(table, same)
    other, other_iou = _best_pair(table, ~same)
    second = np.zeros(len(right), bool)
    second[table.detection[same & used[table.truth] & (table.overlap >= pos_thr)]] = True
    kind = np.select(
        [
            right,
            (near_iou >= background_thr) & (near_iou <= pos_thr),
            other_iou >= pos_thr,
            second,
            np.maximum(near_iou, other_iou) <= background_thr,
        ],
        [-1, *(ERRORS.index(name) for name in ('localisation', 'classification', 'duplicate', 'background'))],
        ERRORS.index('both'),
    )
    misplaced, misnamed = (kind == ERRORS.index(name) for name in ('localisation', 'classification'))
    target = np.select([misplaced, misnamed], [near, other], -1)
    size = np.where(target >= 0, np.append(table.truth_sizes, 0)[target], table.sizes)
    able = np.flatnonzero(target >= 0)
    able = able[~used[target[able]]]
    # Detections are in the order of their scores, so the first one on an object is the best.
    objects, first = np.unique(target[able], return_index=True)
    repairs = np.zeros(len(right), bool)
    repairs[able[first]] = True
    missed = ~used
    missed[objects] = False
    return _Errors(kind, target, repairs, missed, size)


def _best_pair(table: PairTable, choice: Flags) -> tuple[Ints, Floats]:
    """Object of greatest overlap (D,), -1 for none, and the overlap, among some of the pairs."""
    pairs = np.flatnonzero(choice)
    detections, first = np.unique(table.detection[pairs], return_index=True)
    best, iou = np.full(len(table.scores), -1), np.zeros(len(table.scores))
    best[detections] = table.truth[pairs[first]]
    iou[detections] = table.overlap[pairs[first]]
    return best, iou


def _repair(state: _State, errors: _Errors, kind: int, size: int | None, table: PairTable) -> _State:
    """Without the errors of a type (and size): the best one on an object becomes right, others vanish."""
    if kind == _DETECTED:
        gone = errors.missed if size is None else errors.missed & (table.truth_sizes == size)
        return replace(state, truth=state.truth - np.bincount(table.truth_labels[gone], minlength=len(state.truth)))
    chosen = errors.kind == kind
    if size is not None:
        chosen &= errors.size == size
    mended = chosen & errors.repairs
    labels = state.labels.copy()
    labels[mended] = table.truth_labels[errors.target[mended]]
    return replace(state, labels=labels, hits=state.hits | mended, keep=(state.keep & ~chosen) | mended)


def _difference(before: Floats, after: Floats) -> float:
    """Of the means; 0 where nothing is left to have an AP."""
    return _mean(after) - _mean(before) if np.isfinite(after).any() else 0.0


def _gain(before: Floats, after: Floats) -> float:
    return max(_difference(before, after), 0.0)


def _mean(precisions: Floats) -> float:
    known: NDArray[np.float64] = precisions[np.isfinite(precisions)]
    return float(known.mean()) if known.size else float('nan')


def _by_error(values: Iterable) -> dict:
    return dict(zip(ERRORS, values, strict=True))
