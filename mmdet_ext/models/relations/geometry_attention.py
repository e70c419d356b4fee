"""Attention between the RoIs of an image, biased by where they lie (Relation Networks)."""

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from .attention import attention_weights, masked_attention
from .attention_chunks import MIN_WEIGHT
from .base import BaseRelation, Packing, RelationContext, RelationOutput, check_positive
from .fused_attention import geometry_attention
from .geometry import GEOMETRIES, geometry_bias
from .keys import KEYS, SelectedKeys, select_keys


@MODELS.register_module()
class GeometryAttentionRelation(BaseRelation):
    r"""Object relation module of "Relation Networks for Object Detection" (arXiv:1711.11575, equations 2 to 6).

    Per head: `softmax_k(q . k / sqrt(d) + log max(ReLU(W_G embed(geometry)), 1e-6)) v`, heads side by side.

    Deviations from the paper and its code: keys of other images never take part (theirs leak with two images a GPU);
    the geometry is computed in float32 with sides clamped above zero; the embedding is recomputed in the backward
    instead of kept. The paper averages raw features and projects them per head (a grouped 1x1 convolution); a mean
    commutes with a projection, so `value='linear'` is the same function at a fraction of the cost.

    Args:
        in_channels: D.
        out_channels: E, a multiple of `heads`; default D.
        heads: number of attention heads.
        key_dim: d, width of query and key per head.
        geom_dim: width of the geometry embedding, a multiple of 8.
        wave_len: longest wave length of the embedding.
        geom: `'hu'` or `'log1p'`, see :func:`.geometry.box_geometry`.
        keys: `'all'`; `'nongt'` (without ground truth added in training); `'topk'` (the `key_num` RoIs of highest
            foreground score); `'fg'` (RoIs that the base classifier does not call background).
        key_num: most keys per image; needed by `'topk'`, optional for `'fg'`, refused by the others.
        value: `'linear'`, or `'identity'`: head h averages its own slice of the features (then E = D).
        init_cfg: as in mmengine.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        heads: int = 16,
        key_dim: int = 64,
        geom_dim: int = 64,
        wave_len: float = 1000.0,
        geom: str = 'hu',
        keys: str = 'all',
        key_num: int | None = None,
        value: str = 'linear',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        out_channels = in_channels if out_channels is None else out_channels
        super().__init__(in_channels, out_channels, init_cfg or dict(type='Xavier', layer='Linear'))
        owner = type(self).__name__
        for name, given, allowed in (
            ('geom', geom, GEOMETRIES),
            ('keys', keys, KEYS),
            ('value', value, ('linear', 'identity')),
        ):
            if given not in allowed:
                raise ValueError(f'{owner}: {name}={given!r}, allowed are {allowed}')
        check_positive('heads', heads, owner)
        check_positive('key_dim', key_dim, owner)
        check_positive('wave_len', wave_len, owner, integer=False)
        if out_channels % heads:
            raise ValueError(f'{owner}: out_channels={out_channels} is not a multiple of heads={heads}')
        if geom_dim % 8 or geom_dim < 8:
            raise ValueError(f'{owner}: geom_dim={geom_dim} is not a multiple of 8')
        if keys == 'topk' and key_num is None:
            raise ValueError(f"{owner}: keys='topk' needs key_num, the number of keys per image")
        if key_num is not None:
            check_positive('key_num', key_num, owner)
            if keys not in ('topk', 'fg'):
                raise ValueError(
                    f"{owner}: key_num={key_num} is for keys='topk' and keys='fg', got "
                    f'keys={keys!r}; leave key_num out or change keys'
                )
        if value == 'identity' and out_channels != in_channels:
            raise ValueError(
                f"{owner}: value='identity' keeps the width, so out_channels={out_channels} must "
                f'equal in_channels={in_channels}'
            )
        if keys in ('topk', 'fg'):
            self.needs = frozenset({'cls_logits'})
        self.heads, self.geom, self.wave_len, self.keys, self.key_num = heads, geom, wave_len, keys, key_num
        self.query = nn.Linear(in_channels, heads * key_dim)
        self.key = nn.Linear(in_channels, heads * key_dim)
        self.value = nn.Linear(in_channels, out_channels) if value == 'linear' else nn.Identity()
        self.geometry = nn.Linear(geom_dim, heads)

    def _split_heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def attention_bias(self, queries: Tensor, keys: Tensor) -> Tensor:
        """(B, N, 4) and (B, M, 4) boxes -> (B, H, N, M) logarithm of the geometry weights, float32 or wider."""
        with torch.autocast(queries.device.type, enabled=False):
            dtype = torch.promote_types(self.geometry.weight.dtype, torch.float32)
            weight, bias = self.geometry.weight.to(dtype), self.geometry.bias.to(dtype)
            logits = geometry_bias(queries, keys, weight, bias, self.geom, self.wave_len)
            return logits.clamp(min=MIN_WEIGHT).log().permute(0, 3, 1, 2)

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, D) -> (N, E); a RoI without any key gets zeros. Maps: `attention` (B, H, Nmax, M), `key_index` (B, M)."""
        self.check(ctx)
        packing = Packing(ctx)
        selected = select_keys(ctx, packing, self.keys, self.key_num)
        if packing.padded:
            maps = self._maps(ctx, packing, selected) if ctx.want_maps else {}
            return RelationOutput(packing.unpack(self._plain(ctx, packing, selected)), maps=maps)
        feats, boxes = packing.group(ctx.feats), packing.group(ctx.rois[:, 1:])
        # Rows of all images one after the other: padding would be projected, stored and differentiated.
        if self.key_num is None:
            key_feats, key_boxes, key_counts = feats, boxes, packing.counts
            mask = None if self.keys == 'all' else packing.group(packing.unpack(selected.mask))
        else:
            key_feats, key_boxes = (selected.take(packing.pack(x)).flatten(0, 1) for x in (ctx.feats, ctx.rois[:, 1:]))
            key_counts, mask = (selected.mask.shape[1],) * len(packing.counts), selected.mask.flatten()
        query, key, value = (
            layer(x).unflatten(-1, (self.heads, -1))
            for layer, x in ((self.query, feats), (self.key, key_feats), (self.value, key_feats))
        )
        out = geometry_attention(
            query,
            key,
            value,
            boxes,
            key_boxes,
            self.geometry.weight,
            self.geometry.bias,
            packing.counts,
            key_counts,
            mask,
            self.geom,
            self.wave_len,
        )
        maps = self._maps(ctx, packing, selected) if ctx.want_maps else {}
        return RelationOutput(packing.ungroup(out.flatten(1)), maps=maps)

    def _plain(self, ctx: RelationContext, packing: Packing, selected: SelectedKeys) -> Tensor:
        """(B, Nmax, E) in operators that every exporter knows, with the embedding of all pairs in memory."""
        feats, boxes = packing.pack(ctx.feats), packing.pack(ctx.rois[:, 1:])
        keys = selected.take(feats)
        query, key, value = (
            self._split_heads(layer(x)) for layer, x in ((self.query, feats), (self.key, keys), (self.value, keys))
        )
        out = masked_attention(query, key, value, self.attention_bias(boxes, selected.take(boxes)), selected.mask)
        return out.transpose(1, 2).flatten(2)

    @torch.no_grad()
    def _maps(self, ctx: RelationContext, packing: Packing, selected: SelectedKeys) -> dict[str, Tensor]:
        """The attention, which `forward` never has as a whole."""
        feats, boxes = packing.pack(ctx.feats), packing.pack(ctx.rois[:, 1:])
        query, key = self._split_heads(self.query(feats)), self._split_heads(self.key(selected.take(feats)))
        bias = self.attention_bias(boxes, selected.take(boxes))
        return {'attention': attention_weights(query, key, bias, selected.mask), 'key_index': selected.index}
