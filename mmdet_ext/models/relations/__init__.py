"""Relations between the RoIs of an image; see :mod:`.base` for the interface."""

from .base import BaseRelation, Packing, Parts, RelationContext, RelationOutput
from .category_graph import CategoryGraphRelation
from .compose import RelationParallel, RelationSequence
from .geometry_attention import GeometryAttentionRelation
from .image_attention import ImageCategoryAttention
from .object_count import ObjectCountRelation
from .object_pair import ObjectPairRelation
from .part_cells import part_cells
from .part_context import PartContextRelation
from .part_geometry import PartGeometryRelation
from .soft_mapping import SoftMappingRelation
from .spatial_graph import SpatialGraphRelation

__all__ = [
    'BaseRelation',
    'CategoryGraphRelation',
    'GeometryAttentionRelation',
    'ImageCategoryAttention',
    'ObjectCountRelation',
    'ObjectPairRelation',
    'Packing',
    'PartContextRelation',
    'PartGeometryRelation',
    'Parts',
    'RelationContext',
    'RelationOutput',
    'RelationParallel',
    'RelationSequence',
    'SoftMappingRelation',
    'SpatialGraphRelation',
    'part_cells',
]
