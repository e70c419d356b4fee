"""Embedded data, checks of data before they are trained on, data sets and transforms (registered here)."""

from . import transforms
from .coco_landmarks import CocoLandmarkDataset
from .screened_coco import ScreenedCocoDataset
from .wider_face import WiderFaceLandmarkDataset

__all__ = ['CocoLandmarkDataset', 'ScreenedCocoDataset', 'WiderFaceLandmarkDataset', 'transforms']
