"""Anchor generators of the three kinds, and boxes made for them."""

from typing import Any

import numpy as np

from mmdet_ext.analysis.anchors.boxes import BoxSet
from mmdet_ext.analysis.anchors.heads import KINDS, AnchorGrid, AnchorHead

PLAIN: dict[str, Any] = dict(type='AnchorGenerator', strides=[8, 16], scales=[2.0, 4.0], ratios=[0.25, 1.0])
OCTAVE: dict[str, Any] = dict(
    type='AnchorGenerator', strides=[8, 16, 32], octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0]
)
SSD: dict[str, Any] = dict(
    type='SSDAnchorGenerator', strides=[8, 16], ratios=[[2.0], [2.0, 3.0]], min_sizes=[16.0, 40.0],
    max_sizes=[40.0, 90.0], scale_major=False,
)  # fmt: skip
YOLO: dict[str, Any] = dict(
    type='YOLOAnchorGenerator', strides=[32, 16], base_sizes=[[(60, 50), (100, 120)], [(10, 12), (25, 40)]]
)
SIZE = 512


def head_of(options: dict[str, Any], threshold: float = 0.5) -> AnchorHead:
    """A dense head with that generator."""
    return AnchorHead('model.bbox_head.anchor_generator', options, KINDS[options['type']], threshold)


def boxes_on(options: dict[str, Any], copies: int = 5, noise: float = 0.0, seed: int = 0) -> BoxSet:
    """Boxes that are anchors of a generator, each in some cells of its grid that hold it, with noisy sides."""
    rng = np.random.default_rng(seed)
    grid = AnchorGrid.of(options)
    boxes = []
    for shape, level, first in zip(grid.shapes, grid.levels, grid.centres, strict=True):
        stride = grid.strides[level]
        low = np.ceil((shape / 2 - first) / stride)
        high = np.floor((SIZE - shape / 2 - first) / stride)
        cells = np.stack([rng.integers(low[axis], high[axis] + 1, copies) for axis in (0, 1)], axis=1)
        centres = first + cells * stride
        half = shape / 2 * np.exp(rng.normal(0, noise, (copies, 2)))
        boxes.append(np.concatenate([centres - half, centres + half], axis=1))
    joined = np.concatenate(boxes)
    return BoxSet(joined, np.full((len(joined), 2), float(SIZE)), images=3)
