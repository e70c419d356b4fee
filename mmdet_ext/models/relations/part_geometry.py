"""Where anatomy parts lie, as seen from every box (SAR-Net)."""

from collections.abc import Sequence
from typing import cast

from mmdet.registry import MODELS

from .base import Parts, RelationContext, RelationOutput, check_part_names
from .box_embedding import _BoxEmbeddingRelation


@MODELS.register_module()
class PartGeometryRelation(_BoxEmbeddingRelation):
    """Anatomical structure relation of SAR-Net: embedded geometry of every RoI against the parts of its image.

    P blocks of `em_dim` columns in the order of `part_names`; the block of a part that the image lacks is zero. There
    is nothing to learn. Deviation: any number of parts by name, not five by position.

    Args:
        part_names: names of the P parts, in the order of the columns.
        em_dim: width of the embedding of one part, a multiple of 8.
        wave_len: longest wave length of the embedding.
        geom: `'hu'` or `'log1p'`, see :func:`.geometry.box_geometry`; the RoI is the query, the part the key.
        in_channels: D, checked if given; the RoI features are not read.
        init_cfg: as in mmengine.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    needs = frozenset({'parts'})

    def __init__(
        self,
        part_names: Sequence[str],
        em_dim: int = 64,
        wave_len: float = 1000.0,
        geom: str = 'hu',
        in_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        names = check_part_names(part_names, 'PartGeometryRelation')
        super().__init__(in_channels, len(names), em_dim, wave_len, geom, init_cfg=init_cfg)
        self.part_names = names

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, P * em_dim)."""
        self.check(ctx)
        parts = cast(Parts, ctx.parts).select(self.part_names, 'PartGeometryRelation')
        return RelationOutput(self.embed(ctx.rois, parts.boxes, parts.valid).to(ctx.feats.dtype))
