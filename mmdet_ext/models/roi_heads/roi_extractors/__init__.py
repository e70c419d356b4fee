"""From feature maps to RoI features."""

from .fast_roi_extractor import FastRoIExtractor
from .gathered_roi_align import GatheredRoIAlign, gather_roi_align

__all__ = ['FastRoIExtractor', 'GatheredRoIAlign', 'gather_roi_align']
