"""Clusters of box shapes: k-means with k-means++ starts, by 1 - IoU or by distance."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Distance = Literal['iou', 'euclid']
Centre = Literal['mean', 'median']
# Rows compared with all centres at once.
_CHUNK = 100_000


def shape_iou(shapes: Floats, others: Floats) -> Floats:
    """IoU of boxes that share their centre, of (N, 2) and (K, 2) widths and heights: (N, K)."""
    inter = np.minimum(shapes[:, None], others).prod(2)
    union = shapes.prod(1)[:, None] + others.prod(1) - inter
    return inter / np.maximum(union, np.finfo(np.float64).tiny)


def find_nearest(points: Floats, centres: Floats, distance: Distance) -> tuple[NDArray[np.int64], Floats]:
    """Number of the nearest centre, the first of equal ones, and the distance to it; memory is bounded.

    Args:
        points: (N, d); widths and heights for 'iou'.
        centres: (K, d).
        distance: 'iou' is 1 - IoU of boxes that share their centre, 'euclid' the squared distance.
    """
    numbers, distances = np.empty(len(points), np.int64), np.empty(len(points))
    for start in range(0, len(points), _CHUNK):
        part = points[start : start + _CHUNK]
        far = 1 - shape_iou(part, centres) if distance == 'iou' else ((part[:, None] - centres) ** 2).sum(2)
        best = far.argmin(1)
        numbers[start : start + _CHUNK] = best
        distances[start : start + _CHUNK] = far[np.arange(len(part)), best]
    return numbers, distances


def cluster(
    points: Floats,
    num: int,
    *,
    distance: Distance = 'iou',
    centre: Centre = 'mean',
    seed: int = 0,
    starts: int = 5,
    iterations: int = 100,
) -> Floats:
    """k-means (Lloyd) from several k-means++ starts (Arthur and Vassilvitskii 2007); the best of them counts.

    A cluster that loses all its points starts again at the point farthest from its centre, so none is ever empty (in
    mmdet's tool it becomes an anchor of 0 x 0).

    Args:
        points: (N, d), widths and heights for 'iou'; positive there.
        num: K, the number of clusters.
        distance: See `find_nearest`. The first centre of a start is drawn evenly, each further one with a probability
            in proportion to that distance.
        centre: Whether a centre is mean or (component-wise) median of its points.
        seed: Of the starts.
        starts: Number of them.
        iterations: At most so many each.

    Returns:
        (K, d) centres, by their product: the area of a shape.

    Raises:
        ValueError: A distance or centre of another name, or fewer different points than clusters.
    """
    for name, value, allowed in (('distance', distance, get_args(Distance)), ('centre', centre, get_args(Centre))):
        if value not in allowed:
            raise ValueError(f'{name} must be {" or ".join(map(repr, allowed))}, got {value!r}')
    different = len(np.unique(points, axis=0))
    if num < 1 or starts < 1:
        raise ValueError(f'the numbers of clusters and of starts must be at least 1, got {num} and {starts}')
    if different < num:
        raise ValueError(
            f'{num} clusters are wanted of {len(points)} boxes with {different} different shapes; take more images, or '
            'fewer anchors'
        )
    rng = np.random.default_rng(seed)
    best, best_cost = points[:0], np.inf
    for _ in range(starts):
        centres = _spread(points, num, distance, rng)
        numbers: NDArray[np.int64] | None = None
        for _ in range(iterations):
            found, far = find_nearest(points, centres, distance)
            found = _fill(found, far, num)
            if numbers is not None and (found == numbers).all():
                break
            numbers = found
            centres = _centres(points, numbers, num, centre)
        cost = find_nearest(points, centres, distance)[1].sum()
        if cost < best_cost:
            best, best_cost = centres, cost
    return best[np.argsort(best.prod(1), kind='stable')]


def _spread(points: Floats, num: int, distance: Distance, rng: np.random.Generator) -> Floats:
    """The start of k-means++: centres that are points far from each other."""
    chosen: list[int] = []
    far = np.full(len(points), np.inf)
    free = np.ones(len(points), bool)
    for _ in range(num):
        # Rounding can leave a distance of a point to its equal, or none between points that differ.
        weights = np.where(free, far, 0.0) if chosen and far[free].any() else free.astype(np.float64)
        chosen.append(int(rng.choice(len(points), p=weights / weights.sum())))
        free &= (points != points[chosen[-1]]).any(1)
        far = np.minimum(far, np.maximum(find_nearest(points, points[chosen[-1:]], distance)[1], 0))
    return points[chosen]


def _fill(numbers: NDArray[np.int64], far: Floats, num: int) -> NDArray[np.int64]:
    """Give every empty cluster the point farthest from its centre, of a cluster that keeps another."""
    counts = np.bincount(numbers, minlength=num)
    if counts.all():
        return numbers
    numbers = numbers.copy()
    order = iter(np.argsort(-far, kind='stable'))
    for empty in np.flatnonzero(counts == 0):
        point = next(index for index in order if counts[numbers[index]] > 1)
        counts[numbers[point]] -= 1
        numbers[point] = empty
        counts[empty] = 1
    return numbers


def _centres(points: Floats, numbers: NDArray[np.int64], num: int, centre: Centre) -> Floats:
    """(K, d) mean or median of the points of each cluster; none is empty."""
    if centre == 'median':
        return np.stack([np.median(points[numbers == k], axis=0) for k in range(num)])
    counts = np.bincount(numbers, minlength=num)
    return np.stack([np.bincount(numbers, column, minlength=num) / counts for column in points.T], axis=1)
