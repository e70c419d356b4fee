"""Which detection is which object: greedy matching of whole data sets at once, without loops over boxes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .objects import ImageObjects, box_overlaps, clean_image, size_groups

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class PairTable:
    """Detections and objects of all images, numbered through, and the pairs of them that overlap.

    Detections are numbered by falling score, of equal ones by image and place. P pairs stand in the order in which a
    greedy matching by score looks at them: by detection, each one's best overlap first.

    Attributes:
        scores: (D,) of the detections.
        labels: (D,) of the detections.
        sizes: (D,) index into `SIZES` by the area of the detection.
        ignored: (D,) largest share of a detection that is within one ignored region.
        image: (D,) place of the image among those given.
        truth_labels: (G,) of the objects.
        truth_sizes: (G,) index into `SIZES` by the area of the object.
        detection: (P,) of each pair.
        truth: (P,) of each pair.
        overlap: (P,) IoU of each pair.
        num_classes: C.
    """

    scores: NDArray[np.float32]
    labels: Ints
    sizes: Ints
    ignored: NDArray[np.float64]
    image: Ints
    truth_labels: Ints
    truth_sizes: Ints
    detection: Ints
    truth: Ints
    overlap: NDArray[np.float64]
    num_classes: int

    @property
    def same_class(self) -> Flags:
        """(P,) whether detection and object of a pair are of one class."""
        return self.labels[self.detection] == self.truth_labels[self.truth]

    @property
    def num_truth(self) -> Ints:
        """(C,) objects of each class."""
        return np.bincount(self.truth_labels, minlength=self.num_classes)

    def match(self, iou_thr: float) -> Ints:
        """Object (D,) that each detection finds, -1 for none.

        Detections choose by falling score, each the object of its class of greatest IoU among those that are left, from
        `iou_thr` on.
        """
        pairs = np.flatnonzero(self.same_class & (self.overlap >= min(iou_thr, 1 - 1e-10)))
        pairs = pairs[choose_pairs(self.detection[pairs], self.truth[pairs])]
        found = np.full(len(self.scores), -1)
        found[self.detection[pairs]] = self.truth[pairs]
        return found


def pair_table(
    images: Iterable[ImageObjects],
    num_classes: int,
    rules: Literal['coco', 'tide'] = 'coco',
    max_dets: int | None = 100,
    min_iou: float = 0.5,
) -> PairTable:
    """Read images one at a time; what is kept of one are some numbers for each box and each pair.

    Boxes and scores with a NaN or an infinity are left out, annotated ones too.

    Args:
        images: Objects and detections.
        num_classes: C.
        rules: 'coco' keeps pairs of one class from `min_iou` on, `max_dets` is of each class of an image, and of equal
            overlaps the last object is chosen. 'tide' keeps all pairs that overlap, `max_dets` is of an image, and of
            equal overlaps the first object is chosen.
        max_dets: At most this many detections, the best; None for all.
        min_iou: The lowest threshold that is going to be asked for.

    Raises:
        ValueError: A label is not one of the C classes.
    """
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in _COLUMNS}
    detections = objects = 0
    for number, image in enumerate(images):
        image = clean_image(image, number, num_classes)
        truth, found = image.truth, image.detections
        found = found[_best(found.scores, found.labels if rules == 'coco' else None, max_dets)]
        iou = box_overlaps(found.boxes, truth.boxes)
        keep = iou > 0
        if rules == 'coco':
            keep &= (iou >= min_iou) & (found.labels[:, None] == truth.labels)
        first, second = np.nonzero(keep)
        inside = box_overlaps(found.boxes, image.ignored, of_first=True)
        new = (
            found.scores, found.labels, size_groups(found.boxes), inside.max(1, initial=0), np.full(len(found), number),
            truth.labels, size_groups(truth.boxes), first + detections, second + objects, iou[keep],
        )  # fmt: skip
        for column, values in zip(columns.values(), new, strict=True):
            column.append(values)
        detections, objects = detections + len(found), objects + len(truth)
    joined: dict[str, Any] = {
        name: np.concatenate([np.zeros(0, kind), *columns[name]]).astype(kind) for name, kind in _COLUMNS.items()
    }
    order = np.argsort(-joined['scores'], kind='stable')
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    joined |= {name: joined[name][order] for name in _OF_DETECTIONS}
    joined['detection'] = rank[joined['detection']]
    tie = joined['truth'] if rules == 'tide' else -joined['truth']
    order = np.lexsort((tie, -joined['overlap'], joined['detection']))
    joined |= {name: joined[name][order] for name in ('detection', 'truth', 'overlap')}
    return PairTable(**joined, num_classes=num_classes)


def choose_pairs(left: Ints, right: Ints) -> Flags:
    """Greedy choice: a pair is taken if neither of its sides has been taken by an earlier one.

    All pairs that are the first ones left for both of their sides are taken at once, so there are as many rounds as a
    chain of pairs is long, not as there are pairs.

    Args:
        left: (P,) one side of each pair, in order of preference, numbers from 0 on.
        right: (P,) the other side.

    Returns:
        (P,) which pairs are taken.
    """
    taken = np.zeros(len(left), bool)
    if not len(left):
        return taken
    first_left, first_right = np.zeros(left.max() + 1, np.int64), np.zeros(right.max() + 1, np.int64)
    busy_left, busy_right = np.zeros(len(first_left), bool), np.zeros(len(first_right), bool)
    rest = np.arange(len(left))
    while len(rest):
        # Of several values for one place numpy keeps the last: backwards, that is the first pair.
        first_left[left[rest[::-1]]] = rest[::-1]
        first_right[right[rest[::-1]]] = rest[::-1]
        now = rest[(first_left[left[rest]] == rest) & (first_right[right[rest]] == rest)]
        taken[now] = True
        busy_left[left[now]] = True
        busy_right[right[now]] = True
        rest = rest[~(busy_left[left[rest]] | busy_right[right[rest]])]
    return taken


_OF_DETECTIONS: dict[str, type] = {
    'scores': np.float32, 'labels': np.int64, 'sizes': np.int64, 'ignored': np.float64, 'image': np.int64,
}  # fmt: skip
_COLUMNS: dict[str, type] = {
    **_OF_DETECTIONS, 'truth_labels': np.int64, 'truth_sizes': np.int64, 'detection': np.int64, 'truth': np.int64,
    'overlap': np.float64,
}  # fmt: skip


def _best(scores: NDArray[np.float32], labels: Ints | None, limit: int | None) -> Ints:
    """Places of the best detections of an image, or of each of its classes, by falling score."""
    order = np.argsort(-scores, kind='stable')
    if limit is None or labels is None:
        return order[:limit]
    by_class = order[np.argsort(labels[order], kind='stable')]
    groups = labels[by_class]
    place = np.arange(len(groups)) - np.searchsorted(groups, groups)
    keep = np.zeros(len(scores), bool)
    keep[by_class[place < limit]] = True
    return order[keep[order]]
