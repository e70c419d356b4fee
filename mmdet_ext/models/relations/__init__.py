"""Relations between the RoIs of an image; see :mod:`.base` for the interface."""

from .base import BaseRelation, Packing, Parts, RelationContext, RelationOutput
from .category_graph import CategoryGraphRelation
from .compose import RelationParallel, RelationSequence
from .geometry_attention import GeometryAttentionRelation
from .image_attention import ImageCategoryAttention
from .object_count import ObjectCountRelation
from .soft_mapping import SoftMappingRelation

__all__ = [
    'BaseRelation',
    'CategoryGraphRelation',
    'GeometryAttentionRelation',
    'ImageCategoryAttention',
    'ObjectCountRelation',
    'Packing',
    'Parts',
    'RelationContext',
    'RelationOutput',
    'RelationParallel',
    'RelationSequence',
    'SoftMappingRelation',
]
