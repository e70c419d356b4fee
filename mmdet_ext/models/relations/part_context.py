"""What anatomy parts look like, told to every box (SAR-Net)."""

from collections.abc import Sequence
from typing import cast

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from .attention import attention_weights, masked_attention
from .base import Packing, Parts, RelationContext, RelationOutput, check_part_names, check_positive
from .geometry_attention import GeometryAttentionRelation
from .part_cells import part_cells


@MODELS.register_module()
class PartContextRelation(GeometryAttentionRelation):
    """Contextual relation of SAR-Net: attention of Relation Networks from RoIs (queries) to parts (keys).

    Deviations: logits are scaled by `1 / sqrt(key_dim)` as in the paper of Relation Networks, not by one over the
    number of heads; the parameters belong to this module alone; an image may lack parts.

    Args:
        in_channels: D.
        part_names: names of the P parts.
        heads: number of attention heads.
        key_dim: width of query and key per head.
        geom_dim: width of the geometry embedding, a multiple of 8.
        wave_len: longest wave length of the embedding.
        geom: `'hu'` or `'log1p'`, see :func:`.geometry.box_geometry`.
        out_channels: E, a multiple of `heads`; default D.
        value: `'linear'`, or `'identity'`: head h averages its own slice of the part features (then E = D).
        split: `(rows, columns)`: each cell of such a grid over the part is a key, with its own box and its own feature.
            Without features of the cells in the context each cell has the feature of its part. None: whole parts.
        part_channels: width of the part features; default D, in a `RelationSequence` the D of its first member.
        init_cfg: as in mmengine.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    fills = frozenset({'part_channels'})

    def __init__(
        self,
        in_channels: int,
        part_names: Sequence[str],
        heads: int = 16,
        key_dim: int = 64,
        geom_dim: int = 64,
        wave_len: float = 1000.0,
        geom: str = 'hu',
        out_channels: int | None = None,
        value: str = 'linear',
        split: tuple[int, int] | None = None,
        part_channels: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, heads, key_dim, geom_dim, wave_len, geom, value=value, init_cfg=init_cfg
        )
        self.part_names = check_part_names(part_names, 'PartContextRelation')
        self.split = None if split is None else _check_split(split)
        self.part_splits = frozenset({self.split or (1, 1)})
        self.needs = frozenset({'parts'} if self.split else {'parts', 'parts.feats'})
        self.part_channels = in_channels if part_channels is None else part_channels
        if self.part_channels != in_channels:
            check_positive('part_channels', part_channels, 'PartContextRelation')
            if value == 'identity':
                raise ValueError(
                    f"PartContextRelation: value='identity' keeps the width, so part_channels={part_channels} must "
                    f"equal in_channels={in_channels}; or set value='linear'"
                )
            self.key = nn.Linear(self.part_channels, heads * key_dim)
            self.value = nn.Linear(self.part_channels, self.out_channels)

    def _keys(self, ctx: RelationContext) -> tuple[Tensor, Tensor, Tensor]:
        """Features (B, M, D), boxes (B, M, 4) and mask (B, M) of the M = P * cells keys; masked features are zero."""
        parts = cast(Parts, ctx.parts).select(self.part_names, 'PartContextRelation')
        rows, columns = self.split or (1, 1)
        feats = parts.cell_feats.get((rows, columns))
        if feats is None:
            if parts.feats is None:
                raise ValueError(
                    f'PartContextRelation with split={self.split} needs parts.cell_feats[{self.split}], or parts.feats '
                    f'in its place, in the relation context; it has cell features of {sorted(parts.cell_feats)}'
                )
            feats = parts.feats[:, :, None].expand(-1, -1, rows * columns, -1)
        if feats.shape[-1] != self.part_channels:
            raise ValueError(
                f'PartContextRelation expects part features {self.part_channels} wide, they are {feats.shape[-1]} '
                f'wide; set part_channels={feats.shape[-1]}'
            )
        # What an image lacks may hold anything, NaN too: zero it before a layer sees it, for the gradients' sake.
        feats = feats.masked_fill(~parts.valid[:, :, None, None], 0)
        boxes = parts.boxes.to(torch.promote_types(parts.boxes.dtype, torch.float32))
        mask = parts.valid.repeat_interleave(rows * columns, dim=1)
        return feats.flatten(1, 2), part_cells(boxes, (rows, columns)).flatten(1, 2), mask

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, D) -> (N, E); zeros where the image has none of the parts. Maps: `attention` (B, H, Nmax, P * cells)."""
        self.check(ctx)
        packing = Packing(ctx)
        feats, boxes = packing.pack(ctx.feats), packing.pack(ctx.rois[:, 1:])
        key_feats, key_boxes, mask = self._keys(ctx)
        query, key = self._split_heads(self.query(feats)), self._split_heads(self.key(key_feats))
        value = self._split_heads(self.value(key_feats))
        bias = self.attention_bias(boxes, key_boxes)
        out = masked_attention(query, key, value, bias, mask)
        maps = {'attention': attention_weights(query, key, bias, mask)} if ctx.want_maps else {}
        return RelationOutput(packing.unpack(out.transpose(1, 2).flatten(2)), maps=maps)


def _check_split(split: Sequence[int]) -> tuple[int, int]:
    """The two numbers as a tuple; configs hold lists."""
    if not isinstance(split, tuple | list) or len(split) != 2:
        raise ValueError(f'PartContextRelation: split={split!r}, two numbers (rows, columns) or None are wanted')
    for name, number in zip(('rows', 'columns'), split, strict=True):
        check_positive(f'split {name}', number, 'PartContextRelation')
    return split[0], split[1]
