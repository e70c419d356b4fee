"""Test-time augmentation, registered in mmdet's registry."""

from .landmark_tta import LandmarkTTAModel

__all__ = ['LandmarkTTAModel']
