"""Fits the anchors of a generator to boxes."""

from typing import Any

import numpy as np
from mmdet.models.task_modules.prior_generators import SSDAnchorGenerator, YOLOAnchorGenerator

from .boxes import BoxSet, Floats
from .clusters import Centre, Distance, cluster
from .forms import AnchorForm, Numbers, ProductForm, SSDForm, yolo_config
from .heads import AnchorGrid, AnchorHead
from .overlap import best_on_grid

# Boxes a fit looks at; figures are of all.
MOST_BOXES = 20_000
# Turns without a gain after which a fit ends: a turn may lose a little before the next one wins more.
_PATIENCE = 5


def fit_anchors(
    head: AnchorHead,
    boxes: BoxSet,
    *,
    distance: Distance = 'iou',
    centre: Centre = 'mean',
    seed: int = 0,
    starts: int = 5,
    iterations: int = 100,
    keep_base_sizes: bool = False,
) -> tuple[dict[str, Any], Floats]:
    """Find the numbers of a generator that suit the boxes; how many anchors a level has stays as it is.

    `YOLOAnchorGenerator` can make any shapes and gets the clusters. The others are fitted for the highest mean IoU on
    their grids, from the config's own values and from clusters; the better end counts, so it is never below the config.

    Args:
        head: See `find_anchor_head`.
        boxes: At least one; at most `MOST_BOXES` of them, drawn at random, are looked at.
        distance: Of the clusters, see `cluster`.
        centre: Mean or median, of the clusters and of the fit.
        seed: Of everything random.
        starts: Of the clusters.
        iterations: At most so many of the clusters and of the fit.
        keep_base_sizes: `AnchorGenerator` only: fit scales and ratios alone.

    Returns:
        Config of the generator, and (A, 2) the clusters, by area: as many shapes, free of any structure.

    Raises:
        ValueError: See `cluster`; or `keep_base_sizes` for another generator.
    """
    special = issubclass(head.kind, SSDAnchorGenerator | YOLOAnchorGenerator)
    if keep_base_sizes and special:
        raise ValueError(f'{head.key} is a {head.kind.__name__}, whose base sizes are all there is to fit')
    boxes = boxes.sample(MOST_BOXES, seed)
    num = len(AnchorGrid.of(head.options))
    options: dict[str, Any] = {'distance': distance, 'centre': centre, 'seed': seed, 'starts': starts}
    shapes = cluster(boxes.shapes, num, **options, iterations=iterations)
    if issubclass(head.kind, YOLOAnchorGenerator):
        return yolo_config(head.options, shapes), shapes
    form: AnchorForm
    if issubclass(head.kind, SSDAnchorGenerator):
        form = SSDForm(head.options, centre, seed)
    else:
        form = ProductForm(head.options, centre, seed, keep_base_sizes)
    logs = np.log(boxes.shapes)
    sizes, ratios = logs.mean(1), logs[:, 1] - logs[:, 0]
    ends = [
        _take_turns(form, start, boxes, sizes, ratios, iterations)
        for start in (form.current(), form.start(sizes, ratios))
    ]
    return max(ends, key=lambda end: end[0])[1], shapes


def _take_turns(
    form: AnchorForm, numbers: Numbers, boxes: BoxSet, sizes: Floats, ratios: Floats, iterations: int
) -> tuple[float, dict[str, Any]]:
    """The best mean IoU on the way, and its config."""
    best: tuple[float, dict[str, Any]] = (-1.0, {})
    idle = 0
    for _ in range(iterations):
        config = form.config(numbers)
        anchors, overlaps = best_on_grid(boxes, AnchorGrid.of(config))
        score = float(overlaps.mean())
        idle = 0 if score > best[0] + 1e-6 else idle + 1
        if score > best[0]:
            best = (score, config)
        if idle == _PATIENCE:
            break
        numbers = form.update(numbers, sizes, ratios, anchors)
    return best
