"""Random flip with landmarks: left and right change places."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets.transforms import RandomFlip
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from .follow_landmarks import FollowLandmarks
from .landmark_geometry import FACE_PAIRS, Keypoints, mirrored_landmarks


@TRANSFORMS.register_module()
class LandmarkRandomFlip(FollowLandmarks, RandomFlip):
    """mmdet's RandomFlip, and `gt_keypoints` are flipped too.

    A mirrored left eye looks like a right one, so the landmarks of a pair change places; mmcv's RandomFlip has no such
    option. A horizontal and a vertical flip mirror the image. A diagonal one turns it by 180 degrees, as a camera held
    upside down: what was a left eye is one still, and nothing changes places.

    Args:
        swap_pairs: Indices of landmarks that change places, by default those of a face: the eyes and the corners of the
            mouth; `()` is none.
        kwargs: `prob` and `direction` of RandomFlip.

    Raises:
        ValueError: Where an image has landmarks: a pair is not two indices of them, or an index stands in two pairs.
    """

    def __init__(self, swap_pairs: Sequence[Sequence[int]] = FACE_PAIRS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.swap_pairs = swap_pairs

    def adjust(self, keypoints: Keypoints, step: NDArray[np.floating], img_shape: tuple[int, int]) -> Keypoints:
        """Swap the landmarks of pairs where the image was mirrored."""
        mirrored = step[0, 0] * step[1, 1] < 0
        return keypoints[:, mirrored_landmarks(keypoints.shape[1], self.swap_pairs)] if mirrored else keypoints

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, swap_pairs={self.swap_pairs})'
