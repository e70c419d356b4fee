"""Where the features of anatomy parts go once they have taken the path of the RoIs."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from mmdet_ext.models.relations import RelationContext


def with_part_feats(ctx: RelationContext, rows: Tensor, sizes: Mapping[tuple[int, int], int]) -> RelationContext:
    """The context with features of its parts; without those it had.

    Args:
        ctx: with part boxes (B, P, 4).
        rows: (sum of `sizes`, D), the cells of one grid after the other; in each image by image, part by part and row
            by row.
        sizes: number of rows of every grid `(r, c)`, B * P * r * c.

    Raises:
        ValueError: the context holds no parts.
    """
    if ctx.parts is None:
        raise ValueError('part features need the boxes of the parts in the relation context: fill in ctx.parts')
    cells = {
        split: part.view(*ctx.parts.boxes.shape[:2], split[0] * split[1], part.shape[1])
        for split, part in zip(sizes, rows.split(list(sizes.values())), strict=True)
    }
    whole = cells[1, 1].squeeze(2) if (1, 1) in cells else None
    return replace(ctx, parts=replace(ctx.parts, feats=whole, cell_feats=cells))
