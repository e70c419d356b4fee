"""Drawing primitives of the synthetic data sets: smooth outlines, a resolution-independent canvas, a contact sheet.

Shapes live in unit coordinates: (0, 0) is the upper left corner of the image, (1, 1) the lower right one, whatever the
number of pixels. An outline is a float64 array (K, 2) of x, y. Pixels are float64 until the end, so that processors
which round differently in the last bit agree after the rounding to 8 bit.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Pixels = NDArray[np.uint8]

_WORK_SIZE = 320  # small images are drawn at about this size and averaged down: thin lines keep their weight
_SHIFT = 8  # fractional bits of polygon corners in OpenCV
_SPILL = 0.6  # pixels that an anti-aliased OpenCV polygon reaches beyond its corners
_MAX_SIGMA = 3.0  # pixels; a wider blur works on a smaller copy
_INK = ((60, 200, 255), (90, 230, 90), (255, 180, 70), (90, 120, 255), (230, 110, 230), (220, 220, 80), (150, 220, 255),
        (120, 255, 190), (200, 160, 255), (255, 150, 150))  # fmt: skip


def spline(points: ArrayLike, closed: bool = True, steps: int = 12) -> Floats:
    """Catmull-Rom curve through points.

    Args:
        points: (K, 2) control points.
        closed: Whether the last point connects to the first.
        steps: Samples per control point.

    Returns:
        (K * steps, 2) for a closed curve, ((K - 1) * steps + 1, 2) for an open one, the control points included.
    """
    p = np.asarray(points, dtype=np.float64)
    ring = np.concatenate([p[-1:], p, p[:2]] if closed else [2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    p0, p1, p2, p3 = ring[:-3, None], ring[1:-2, None], ring[2:-1, None], ring[3:, None]
    t = (np.arange(steps) / steps)[None, :, None]
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    curve = curve.reshape(-1, 2)
    return curve if closed else np.concatenate([curve, p[-1:]])


def stroke(path: ArrayLike, start: float, end: float | None = None) -> Floats:
    """Outline (2K, 2) of a brush stroke along `path` (K, 2), its width going from `start` to `end`."""
    p = np.asarray(path, dtype=np.float64)
    along = np.gradient(p, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)[:, None]
    half = np.linspace(start, start if end is None else end, len(p))[:, None] / 2
    return np.concatenate([p + half * normal, (p - half * normal)[::-1]])


def blob(
    rng: np.random.Generator, diameter: float, aspect: float = 1.0, rough: float = 0.0, corners: int = 64
) -> Floats:
    """Outline (corners, 2) of a randomly turned oval around the origin.

    Args:
        rng: Source of the turn and of the bumps.
        diameter: Geometric mean of the two axes.
        aspect: Ratio of the two axes.
        rough: Relative height of the bumps; 0 is an ellipse.
        corners: Number of corners.
    """
    angle = np.arange(corners) * (2 * np.pi / corners)
    waves = np.arange(2, 6)[:, None]
    height = rough * rng.uniform(-1.0, 1.0, (4, 1)) / np.sqrt(waves)
    radius = 0.5 * diameter * (1 + (height * np.cos(waves * angle + rng.uniform(0, 2 * np.pi, (4, 1)))).sum(0))
    x, y = radius * np.cos(angle) * np.sqrt(aspect), radius * np.sin(angle) / np.sqrt(aspect)
    turn = rng.uniform(0, np.pi)
    return np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1)


def bounds(outline: Floats) -> Floats:
    """Box [x1, y1, x2, y2] around an outline."""
    return np.concatenate([outline.min(0), outline.max(0)])


class Canvas:
    """A square picture in unit coordinates.

    Args:
        size: Side of the finished image in pixels.

    Attributes:
        side: Side of the working picture in pixels; a multiple of `size`.
        x, y: Coordinates of the pixel centres, (1, side) and (side, 1).
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.side = size * max(1, round(_WORK_SIZE / size))
        self.x = ((np.arange(self.side) + 0.5) / self.side)[None]
        self.y = self.x.T

    def fill(self, outlines: Sequence[Floats], soft: float = 0.0, values: Sequence[float] | None = None) -> Floats:
        """Coverage of anti-aliased polygons.

        Args:
            outlines: Polygons; where they overlap the last one counts.
            soft: Standard deviation of the blur of the edges, unit coordinates.
            values: Value in [0, 1] of each polygon, 1 by default.

        Returns:
            (side, side) in [0, 1].
        """
        mask = np.zeros((self.side, self.side), np.uint8)
        for i, outline in enumerate(outlines):
            corners = np.rint((outline * self.side - 0.5) * 2**_SHIFT).astype(np.int32)
            grey = 255 if values is None else round(255 * values[i])
            cv2.fillPoly(mask, [corners], (grey,), lineType=cv2.LINE_AA, shift=_SHIFT)
        return self.soften(mask.astype(np.float64) / 255, soft)

    def tight(self, outline: Floats) -> Floats:
        """Corners of a round shape drawn in so far that the painted border lies on `outline`."""
        spokes = outline - outline.mean(0)
        return outline - spokes * (_SPILL / self.side / np.hypot(spokes[:, 0], spokes[:, 1]))[:, None]

    def soften(self, picture: Floats, soft: float) -> Floats:
        """Gaussian blur with a standard deviation in unit coordinates; 0 returns the picture itself."""
        sigma = soft * self.side
        if sigma <= 0:
            return picture
        small = max(16, round(self.side * min(1.0, _MAX_SIGMA / sigma)))
        if small < self.side:
            picture = np.asarray(cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA), np.float64)
        blurred = cv2.GaussianBlur(picture, (0, 0), soft * small, borderType=cv2.BORDER_REPLICATE)
        if small < self.side:
            blurred = cv2.resize(blurred, (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(blurred, np.float64)

    def reduce(self, picture: Floats) -> Floats:
        """Average the working picture down to (size, size)."""
        if self.side == self.size:
            return picture
        return np.asarray(cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA), np.float64)


def to_pixels(picture: Floats) -> Pixels:
    """Round values in [0, 1] to 8 bit; values outside are clipped."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def contact_sheet(
    images: Sequence[Pixels], boxes: Sequence[Sequence[Sequence[float]]], labels: Sequence[Sequence[int]],
    names: Sequence[str], columns: int = 4, tile: int = 480,
    points: Sequence[Sequence[Sequence[float]]] | None = None,
) -> Pixels:  # fmt: skip
    """Enlarged images side by side, each object with its box and the name of its class.

    Args:
        images: Images, grey or BGR, all of the same size.
        boxes: For each image its boxes [x, y, w, h] in pixels.
        labels: For each image the class index of each box.
        names: Class names.
        columns: Tiles in a row.
        tile: Side of a tile in pixels.
        points: For each image its landmarks [x, y, v]; v 1 (hidden) is an empty ring, 2 a disc, others are not shown.

    Returns:
        (rows * tile, columns * tile, 3), BGR.
    """
    rows = -(-len(images) // columns)
    sheet = np.zeros((rows * tile, columns * tile, 3), np.uint8)
    for k, image in enumerate(images):
        scale = tile / image.shape[0]
        picture = np.asarray(cv2.resize(image, (tile, tile), interpolation=cv2.INTER_CUBIC), np.uint8)
        if picture.ndim == 2:
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
        for (x, y, w, h), label in zip(boxes[k], labels[k], strict=True):
            ink = _INK[label % len(_INK)]
            x1, y1, x2, y2 = (round(v * scale) for v in (x, y, x + w, y + h))
            cv2.rectangle(picture, (x1, y1), (x2, y2), ink, 1, cv2.LINE_AA)
            (width, height), base = cv2.getTextSize(names[label], cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)
            left, line = min(x1, tile - width), y1 - base if y1 > height + base else y2 + height + 1
            cv2.rectangle(picture, (left, line - height), (left + width, line + base), (0, 0, 0), cv2.FILLED)
            cv2.putText(picture, names[label], (left, line), cv2.FONT_HERSHEY_SIMPLEX, 0.4, ink, 1, cv2.LINE_AA)
        for px, py, v in points[k] if points else ():
            if v:
                place = (round(px * scale), round(py * scale))
                cv2.circle(picture, place, 2, (0, 0, 255), cv2.FILLED if v == 2 else 1, cv2.LINE_AA)
        row, column = divmod(k, columns)
        cv2.rectangle(picture, (0, 0), (tile - 1, tile - 1), (70, 70, 70), 1)
        sheet[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = picture
    return sheet
