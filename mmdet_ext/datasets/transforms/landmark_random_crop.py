"""Random crop with landmarks."""

import numpy as np
from mmdet.datasets.transforms import RandomCrop
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from .follow_landmarks import FollowLandmarks
from .landmark_geometry import Keypoints, hide_outside


@TRANSFORMS.register_module()
class LandmarkRandomCrop(FollowLandmarks, RandomCrop):
    """mmdet's RandomCrop, and `gt_keypoints` are cropped too; its options.

    Landmarks of objects that are dropped are dropped. Those of an object that stays, but outside the crop, get v = 0.
    """

    def adjust(self, keypoints: Keypoints, step: NDArray[np.floating], img_shape: tuple[int, int]) -> Keypoints:
        """Hide landmarks outside the crop."""
        return hide_outside(keypoints, img_shape)
