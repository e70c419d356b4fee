"""Resize with landmarks."""

from mmdet.datasets.transforms import Resize
from mmdet.registry import TRANSFORMS

from .follow_landmarks import FollowLandmarks


@TRANSFORMS.register_module()
class LandmarkResize(FollowLandmarks, Resize):
    """mmdet's Resize, and `gt_keypoints` are resized too; its options.

    mmcv's Resize clips landmarks to the image. Here one that lies outside stays there, for on the border it would be a
    wrong label. RandomResize, RandomChoiceResize and ResizeShortestEdge take it by `resize_type='LandmarkResize'`.
    """
