"""Part boxes through a chain of image transforms: projected, clipped, and named for the side they lie on."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmdet_ext.datasets.problems import nearest

Pairs = Sequence[tuple[str, str]]


def project_parts(
    boxes: NDArray[np.floating],
    valid: NDArray[np.bool_],
    homography: NDArray[np.floating],
    img_shape: tuple[int, int],
    min_area_ratio: float,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Carry part boxes into another image.

    A box becomes the bounding box of its four projected corners, cut at the border of the image. mmdet does the same to
    ground truth boxes, but after every single transform.

    Args:
        boxes: (P, 4) xyxy; anything where a part is not valid.
        valid: (P,) which parts there are.
        homography: (3, 3) from pixels of `boxes` to pixels of the image.
        img_shape: Height and width of the image.
        min_area_ratio: A part of which a smaller share of its area is left becomes invalid.

    Returns:
        (P, 4) boxes, zero where invalid, and (P,) which parts are valid.
    """
    x1, y1, x2, y2 = np.where(valid[:, None], boxes, 0).astype(np.float64).T
    corners = np.stack([x1, y1, x2, y1, x2, y2, x1, y2], axis=1).reshape(-1, 4, 2)
    points = project_points(corners, homography)
    whole = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    height, width = img_shape
    cut = whole.clip(0, [width, height, width, height])
    left = _area(cut)
    valid = valid & (left > 0) & (left >= min_area_ratio * _area(whole))
    return np.where(valid[:, None], cut, 0).astype(np.float32), valid


def project_points(points: NDArray[np.floating], homography: NDArray[np.floating]) -> NDArray[np.float64]:
    """Carry points into another image, in double precision.

    Args:
        points: (..., 2) x, y.
        homography: (3, 3) from pixels of `points` to pixels of the image.
    """
    ones = np.ones((*points.shape[:-1], 1))
    projected = np.concatenate([points, ones], axis=-1) @ np.asarray(homography, dtype=np.float64).T
    return projected[..., :2] / projected[..., 2:]


def side_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of names that differ in the word left or right only, such as ('left lung', 'right lung')."""
    pairs = []
    for name in names:
        other = re.sub(r'(?<![a-z])left(?![a-z])', 'right', name)
        if other != name and other in names:
            pairs.append((name, other))
    return pairs


def mirrored_order(names: Sequence[str], pairs: Pairs | None) -> list[int]:
    """Index of the part that takes each slot in a mirrored image.

    Args:
        names: P part names.
        pairs: Names that change places; None derives them by `side_pairs`.

    Raises:
        ValueError: A pair is not two different names, or has an unknown name, or a name stands in several pairs.
    """
    if pairs is None:
        pairs = side_pairs(names)
    order = list(range(len(names)))
    for pair in pairs:
        if isinstance(pair, str) or len(pair) != 2 or pair[0] == pair[1]:
            raise ValueError(f"swap_pairs must be pairs such as ('left lung', 'right lung'), but has {pair!r}")
        for name in pair:
            if name not in names:
                raise ValueError(
                    f'swap_pairs names the part {name!r}{nearest(name, names)}, but part_names of LoadParts is '
                    f'{tuple(names)}: correct the one or the other'
                )
        first, second = names.index(pair[0]), names.index(pair[1])
        if order[first] != first or order[second] != second:
            raise ValueError(f'swap_pairs has a part in several pairs: {pair!r}; a part changes places with one other')
        order[first], order[second] = second, first
    return order


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
