"""RoI heads: mmdet in, our modules out; no maths here."""

from . import bbox_heads, roi_extractors
from .relation_cascade_roi_head import RelationCascadeRoIHead
from .relation_roi_head import RelationRoIHead

__all__ = ['RelationCascadeRoIHead', 'RelationRoIHead', 'bbox_heads', 'roi_extractors']
