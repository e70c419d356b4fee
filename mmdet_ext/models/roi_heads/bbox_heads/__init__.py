"""Box heads."""

from .relation_bbox_head import RelationBBoxHead, RelationBBoxResults

__all__ = ['RelationBBoxHead', 'RelationBBoxResults']
