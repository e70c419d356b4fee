"""Square crops that keep a face large enough to learn from, as in RetinaFace."""

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import Pad
from mmdet.registry import TRANSFORMS
from mmdet.structures.bbox import autocast_box_type
from numpy.typing import NDArray

from .landmark_geometry import box_array, check_in_step, remember_boxes
from .landmark_random_crop import LandmarkRandomCrop

_ROWS = ('gt_bboxes', 'gt_bboxes_labels', 'gt_ignore_flags', 'gt_masks', 'gt_instances_ids', 'gt_keypoints')


@TRANSFORMS.register_module()
class FaceRandomCrop(BaseTransform):
    """Cut a random square out of an image, so that at least one trainable face is left; a Resize to a square follows.

    RetinaFace (arXiv 1905.00641, section 4.2) trains on squares of 0.3 to 1 times the short side of an image, resized
    to 640: faces get larger and never change their ratio of sides. Squares are drawn until one has a face whose centre
    is inside and of which at least `min_size` pixels a side will be seen. Where `tries` squares have none, and where
    there are no faces, the whole image is taken and padded to a square to the right and below.

    What is cut keeps the faces whose centre is inside; their boxes are clipped, and landmarks outside get v = 0
    (RetinaFace moves these onto the border, still labelled). Ignored objects are never trainable, and stay as long as
    they overlap the crop. Masks, maps and `homography_matrix` follow as in mmdet's RandomCrop.

    Args:
        train_size: Side in pixels that the crop will be resized to; this transform does not resize.
        scales: Sides of the squares to draw from, as shares of the short side of the image.
        min_size: Shorter side in pixels, at the size of training, from which on a face is trainable.
        tries: Squares drawn for an image.
        pad_val: Colour of the padding in the channel order of the loaded image; default: ImageNet's mean, BGR.

    Raises:
        ValueError: `scales` is empty or has one that is not in (0, 1], or a size or number is not positive.
    """

    def __init__(
        self,
        train_size: int = 640,
        scales: Sequence[float] = (0.3, 0.45, 0.6, 0.8, 1.0),
        min_size: float = 16.0,
        tries: int = 50,
        pad_val: Sequence[int] = (104, 116, 124),
    ) -> None:
        if not len(scales) or not all(0 < scale <= 1 for scale in scales):
            raise ValueError(f'FaceRandomCrop: scales must be shares of the short side in (0, 1], got {scales!r}')
        for name, value in (('train_size', train_size), ('min_size', min_size), ('tries', tries)):
            if not value > 0:
                raise ValueError(f'FaceRandomCrop: {name} must be positive, got {value!r}')
        self.train_size = train_size
        self.scales = tuple(scales)
        self.min_size = min_size
        self.tries = tries
        self.pad_val = tuple(pad_val)
        self.pad = Pad(pad_to_square=True, pad_val=dict(img=self.pad_val, seg=255))

    @autocast_box_type()
    def transform(self, results: dict) -> dict:
        """Crop one image, or pad it.

        Raises:
            ValueError: No boxes were loaded, or a transform before this one has left the landmarks behind.
        """
        if results.get('gt_bboxes') is None:
            raise ValueError('FaceRandomCrop looks for faces: put LoadLandmarkAnnotations or LoadAnnotations before it')
        landmarks = results.get('gt_keypoints') is not None
        if landmarks:
            check_in_step(results, 'FaceRandomCrop')
        height, width = results['img'].shape[:2]
        boxes = box_array(results['gt_bboxes'])
        ignored = np.asarray(results.get('gt_ignore_flags', np.zeros(len(boxes))), dtype=bool)
        squares = self._draw(height, width)
        found = first_trainable(squares, boxes[~ignored], self.min_size / self.train_size)
        x1, y1, x2, y2 = (0, 0, width, height) if found is None else squares[found].tolist()
        rows = np.flatnonzero(ignored | centres_inside(boxes, np.array([x1, y1, x2, y2])))
        for key in _ROWS:
            if results.get(key) is not None:
                results[key] = results[key][rows]
        if landmarks:
            remember_boxes(results)
        return self.pad(_CropAt(x1, y1, x2 - x1, y2 - y1).transform(results))

    @cache_randomness
    def _draw(self, height: int, width: int) -> NDArray[np.int64]:
        """All squares that will be tried, (tries, 4) xyxy: as many random numbers for every image."""
        shares = np.random.choice(self.scales, self.tries)  # noqa: NPY002  (as mmdet, from the global generator)
        places = np.random.rand(self.tries, 2)  # noqa: NPY002
        sides = np.maximum((shares * min(height, width)).astype(np.int64), 1)[:, None]
        starts = (places * (np.array([width, height]) - sides + 1)).astype(np.int64)
        return np.concatenate([starts, starts + sides], axis=1)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(train_size={self.train_size}, scales={self.scales}, min_size={self.min_size}, '
            f'tries={self.tries}, pad_val={self.pad_val})'
        )


class _CropAt(LandmarkRandomCrop):
    """A crop of a given place and size."""

    def __init__(self, x: int, y: int, width: int, height: int) -> None:
        super().__init__(crop_size=(width, height), allow_negative_crop=True)
        self.offset = (y, x)

    def _rand_offset(self, margin: tuple[int, int]) -> tuple[int, int]:
        return self.offset


def centres_inside(boxes: NDArray[np.floating], window: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Whether the centre of each box (N, 4), xyxy, lies inside a window (4,), not on its border."""
    x, y = (boxes[:, :2] + boxes[:, 2:]).T / 2
    return (x > window[0]) & (x < window[2]) & (y > window[1]) & (y < window[3])


def first_trainable(squares: NDArray[np.integer], boxes: NDArray[np.floating], min_share: float) -> int | None:
    """Index of the first square with a trainable face; None: there is none.

    Args:
        squares: (T, 4) xyxy.
        boxes: (N, 4) xyxy of the faces.
        min_share: Shorter side from which on what is seen of a face is trainable, as a share of the square's side.
    """
    if not len(boxes):
        return None
    for index, square in enumerate(squares):
        seen = boxes.clip(np.tile(square[:2], 2), np.tile(square[2:], 2))
        large = (seen[:, 2:] - seen[:, :2]).min(axis=1) >= min_share * (square[2] - square[0])
        if (large & centres_inside(boxes, square)).any():
            return index
    return None
