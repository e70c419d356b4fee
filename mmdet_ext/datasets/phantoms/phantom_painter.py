"""A colour picture that is painted over and over; in unit coordinates, as `phantom_drawing`.

Colours are BGR in [0, 1]. The picture has about 512 px a side and is averaged down, so that objects of a few pixels
keep their structure.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from .phantom_drawing import Floats

_WORK_SIZE = 512
_SHIFT = 8  # fractional bits of polygon corners in OpenCV


class Painter:
    """A square colour picture in unit coordinates that is painted over and over.

    Args:
        size: Side of the finished image in pixels.
        work_size: About how large the working picture is at least.

    Attributes:
        side: Side of the working picture in pixels; a multiple of `size`.
        picture: (side, side, 3).
    """

    def __init__(self, size: int, work_size: int = _WORK_SIZE) -> None:
        self.size = size
        self.side = size * max(1, round(work_size / size))
        self.picture = np.zeros((self.side, self.side, 3))

    def paint(
        self, outlines: Floats | Sequence[Floats], colour: Sequence[float] | Floats, opacity: float = 1.0,
        soft: float = 0.0, shade: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        """Paint anti-aliased polygons in one colour.

        Args:
            outlines: One polygon (K, 2), or several that are one shape.
            colour: BGR.
            opacity: 1 hides what was there.
            soft: Standard deviation of the blur of the edges, unit coordinates.
            shade: How much lighter the colour gets, as a share, from the middle to the right and to the lower end.
        """
        shapes = [outlines] if isinstance(outlines, np.ndarray) else list(outlines)
        corners = [np.asarray(shape) * self.side - 0.5 for shape in shapes]
        ends = corners[0] if len(corners) == 1 else np.concatenate(corners)
        (left, top), (right, bottom) = ends.min(0).tolist(), ends.max(0).tolist()
        margin = 2 + 3 * soft * self.side
        x1, y1 = max(math.floor(left - margin), 0), max(math.floor(top - margin), 0)
        x2, y2 = (min(math.ceil(end + margin) + 1, self.side) for end in (right, bottom))
        if x1 >= x2 or y1 >= y2:
            return
        mask = np.zeros((y2 - y1, x2 - x1), np.uint8)
        for shape in corners:
            cv2.fillPoly(mask, [np.rint((shape - (x1, y1)) * 2**_SHIFT).astype(np.int32)], (255,), cv2.LINE_AA, _SHIFT)
        weight = mask * (opacity / 255)
        if soft:
            weight = np.asarray(cv2.GaussianBlur(weight, (0, 0), soft * self.side, borderType=cv2.BORDER_REPLICATE))
        ink = np.asarray(colour, np.float64)
        if shade != (0.0, 0.0):
            across = np.interp(np.arange(x1, x2), [left, right], [-1, 1])
            down = np.interp(np.arange(y1, y2), [top, bottom], [-1, 1])
            ink = ink * (1 + shade[0] * across + shade[1] * down[:, None])[..., None]
        view = self.picture[y1:y2, x1:x2]
        change = ink - view
        change *= weight[..., None]
        view += change

    def at_side(self, side: int) -> Floats:
        """A copy of the picture (side, side, 3): averaged down, or spread by linear interpolation."""
        how = cv2.INTER_AREA if side < self.side else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(self.picture, (side, side), interpolation=how), np.float64)
