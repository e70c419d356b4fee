"""A graph over the boxes of an image: who listens to whom is learnt, how much depends on where they lie (SGRN)."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import cast

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .base import BaseRelation, Packing, RelationContext, RelationOutput, check_positive
from .keys import select_keys
from .semantic_pool import MAPPINGS, class_shares, semantic_pool
from .spatial_kernels import (
    KERNELS,
    build_kernel,
    keep_largest,
    kernel_parameters,
    log_shares,
    neighbour_weights,
    polar_offsets,
)

ADJACENCIES = ('learnt', 'dense')
NODES = ('semantic', 'visual', 'input')
NORMALIZERS = ('neighbours', 'kernels')
SPATIAL_KEYS = ('all', 'nongt')


@MODELS.register_module()
class SpatialGraphRelation(BaseRelation):
    r"""Graph learner and spatial graph reasoning of SGRN ("Spatial-aware Graph Relation Network", CVPR 2019).

    Learnt region graph: `z = ReLU(W_2 ReLU(W_1 f))`, `e_ij = softmax_j(z_i . z_j)` over the `topk` largest of a row.
    Each layer then does, per kernel k, `x'_ki = sum_j w_kij W_k x_j` with `w_kij` from the edge `e_ij` times the
    kernel's weight of the polar offset from i to j, normalised; kernels side by side, ReLU between layers.

    Deviations from paper and released code: weights of a row are normalised, so the scale of the features does not
    depend on the number of boxes (`normalize_over='kernels'` is the released way); offsets are divided by the right
    side of the image; precisions are positive definite; all RoIs that tie with the last neighbour are neighbours, so
    the order of the RoIs does not decide; RoIs of other images never are; fewer RoIs than `topk` are fine; no weight
    norm in the learner. The published dropout is 0.5. Features are projected before they are averaged, which is the
    same function, and nothing of the size (N, topk, D) exists; the weights are computed again in the backward.

    Args:
        in_channels: D.
        kernel: `'gaussian'`; `'gaussian_norm'`: Gaussians as densities, whose heights count because the kernels of a
            row share one normaliser (the same as `'gaussian'` with one kernel); `'relu'`; or `'none'`, weight 1, for
            which `n_kernels` has no meaning. See :mod:`.spatial_kernels`.
        n_kernels: K, divides every width in `layers`.
        adjacency: `'learnt'`, or `'dense'`: every pair of an image has the same edge weight, kernels alone decide.
        topk: neighbours per RoI in a learnt graph; None for every RoI of the image.
        node: what is passed along the graph. `'semantic'`: `softmax(logits) M`, the pool of the base classifier's
            weights; `'visual'`: ReLU of a linear layer (of width `layers[0]`) over `ctx.feats`; `'input'`: `ctx.feats`
            as they are, the default behind another relation in a `RelationSequence`. The learner always reads
            `ctx.feats`: RoI features, or what the relation before hands on.
        layers: widths of the graph convolutions; E is the last.
        normalize_over: `'neighbours'` or `'kernels'`, see :func:`.spatial_kernels.neighbour_weights`.
        learner: widths of the layers that give z.
        detach_learner: no gradient from the learnt graph to `ctx.feats`, as published.
        weight_once: edge weights in the first layer only, as in the released code; later layers treat all neighbours
            alike. By default they are in every layer.
        mapping: `'soft'` (as in the paper) or `'argmax'` (as released): classes of a semantic node.
        pool_channels: width of the base classifier's input; default `in_channels`.
        pool_bias: the classifier's bias is one more column of the pool.
        detach_pool: no gradient from here to the base classifier's weights.
        dropout: probability, between layers.
        keys: `'all'`, or `'nongt'`: ground truth added in training is nobody's neighbour.
        init_cfg: as in mmengine.

    Raises:
        ValueError: an option outside of what is listed here.
    """

    fills = frozenset({'pool_channels'})
    behind = MappingProxyType({'node': 'input'})

    def __init__(
        self,
        in_channels: int,
        kernel: str = 'gaussian',
        n_kernels: int = 8,
        adjacency: str = 'learnt',
        topk: int | None = 32,
        node: str = 'semantic',
        layers: Sequence[int] = (512, 256),
        normalize_over: str = 'neighbours',
        learner: Sequence[int] = (256, 256),
        detach_learner: bool = True,
        weight_once: bool = False,
        mapping: str = 'soft',
        pool_channels: int | None = None,
        pool_bias: bool = True,
        detach_pool: bool = True,
        dropout: float = 0.0,
        keys: str = 'all',
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        layers, learner = _widths('layers', layers), _widths('learner', learner)
        super().__init__(in_channels, layers[-1], init_cfg or dict(type='Xavier', layer='Linear'))
        for name, given, allowed in (
            ('kernel', kernel, KERNELS),
            ('adjacency', adjacency, ADJACENCIES),
            ('node', node, NODES),
            ('normalize_over', normalize_over, NORMALIZERS),
            ('mapping', mapping, MAPPINGS),
            ('keys', keys, SPATIAL_KEYS),
        ):
            if given not in allowed:
                raise ValueError(f'SpatialGraphRelation: {name}={given!r}, allowed are {allowed}')
        check_positive('n_kernels', n_kernels, 'SpatialGraphRelation')
        if topk is not None:
            check_positive('topk', topk, 'SpatialGraphRelation')
        if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
            raise ValueError(f'SpatialGraphRelation: dropout={dropout!r}, a probability 0 <= p < 1 is wanted')
        odd = [] if kernel == 'none' else [width for width in layers if width % n_kernels]
        if odd:
            raise ValueError(
                f'SpatialGraphRelation: n_kernels={n_kernels} does not divide the widths {odd} in layers={layers}; '
                'every kernel gives an equal part of them'
            )
        self.kernel, self.normalize_over, self.keys = kernel, normalize_over, keys
        self.topk, self.weight_once, self.detach_learner = topk, weight_once, detach_learner
        self.node, self.mapping, self.pool_bias, self.detach_pool = node, mapping, pool_bias, detach_pool
        self.pool_channels = in_channels if pool_channels is None else pool_channels
        check_positive('pool_channels', self.pool_channels, 'SpatialGraphRelation')
        if node == 'semantic':
            self.needs = frozenset({'cls_logits', 'cls_weight'})
        self.learner = _mlp(in_channels, learner) if adjacency == 'learnt' else None
        self.gradient_to_feats = node != 'semantic' or (self.learner is not None and not detach_learner)
        self.embed = _mlp(in_channels, layers[:1]) if node == 'visual' else None
        width = {'semantic': self.pool_channels + pool_bias, 'visual': layers[0], 'input': in_channels}[node]
        # One linear layer holds the K projections of a layer side by side.
        self.projects = nn.ModuleList(
            nn.Linear(before, after, bias=False) for before, after in zip((width, *layers), layers, strict=False)
        )
        self.kernels = nn.ModuleList(build_kernel(kernel, n_kernels) for _ in layers)
        self.dropout = nn.Dropout(dropout)

    def log_edges(self, ctx: RelationContext, packing: Packing) -> Tensor:
        """(B, Nmax, Nmax) logarithms of edge weights, rows sum to 1; -inf where j is no neighbour of i."""
        keys = select_keys(ctx, packing, self.keys).mask[:, None, :]
        if self.learner is None:
            dtype = torch.promote_types(ctx.rois.dtype, torch.float32)
            similarity = torch.zeros(keys.expand(-1, keys.shape[2], -1).shape, dtype=dtype, device=keys.device)
        else:
            z = packing.pack(self.learner(ctx.feats.detach() if self.detach_learner else ctx.feats))
            with torch.autocast(z.device.type, enabled=False):
                z = z.to(torch.promote_types(z.dtype, torch.float32))
                similarity = z @ z.mT
        similarity = similarity.masked_fill(~keys, float('-inf'))
        if self.topk is not None and self.learner is not None:
            similarity = keep_largest(similarity, self.topk)
        return log_shares(similarity)

    def _first_values(self, ctx: RelationContext) -> Tensor:
        """(N, layers[0]) projected node features."""
        project = self.projects[0]
        if self.node != 'semantic':
            return project(ctx.feats if self.embed is None else self.embed(ctx.feats))
        pool = cast(Tensor, ctx.cls_weight)
        pool = semantic_pool(pool, self.pool_channels, self.pool_bias, self.detach_pool, 'SpatialGraphRelation')
        # Projecting the pool instead of N mixtures of it: (N, D + 1) never exists.
        values = project(pool)
        return class_shares(cast(Tensor, ctx.cls_logits), self.mapping).to(values.dtype) @ values

    def _weights(self, offsets: Tensor, log_edges: Tensor, layer: int) -> Tensor:
        with torch.autocast(offsets.device.type, enabled=False):
            log_kernels = self.kernels[layer](offsets)
            shared = self.kernel == 'gaussian_norm'
            return neighbour_weights(log_kernels, log_edges.to(offsets.dtype), self.normalize_over, shared)

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, D) -> (N, E); a RoI without any neighbour of weight above zero gets zeros.

        Maps: `adjacency` (B, Nmax, Nmax) edge weights; for every layer i `weights_i` (B, K, Nmax, Nmax), what the
        features are summed with, and the parameters of the kernels: `mean_i` (K, 2) and `precision_i` (K, 2, 2), or
        `weight_i` (K, 2) and `bias_i` (K,).
        """
        self.check(ctx)
        packing = Packing(ctx)
        log_edges = self.log_edges(ctx, packing)
        maps = {'adjacency': log_edges.detach().exp()} if ctx.want_maps else {}
        # Boxes are data here, as in every RoI head.
        offsets = polar_offsets(packing.pack(ctx.rois[:, 1:].detach()), ctx.img_shapes)
        values = packing.pack(self._first_values(ctx))
        feats = values
        for layer, kernel in enumerate(self.kernels):
            if layer:
                values = self.projects[layer](self.dropout(F.relu(feats)))
            if layer == 1 and self.weight_once:
                log_edges = log_shares(torch.where(log_edges.isneginf(), log_edges, 0))
            # A compiler chooses by itself what to keep, and torch's cannot trace two of these with dynamic sizes.
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():
                weights = checkpoint(
                    self._weights, offsets, log_edges, layer, use_reentrant=False, preserve_rng_state=False
                )
            else:
                weights = self._weights(offsets, log_edges, layer)
            per_kernel = values.unflatten(-1, (weights.shape[1], -1)).transpose(1, 2)
            feats = (weights.to(values.dtype) @ per_kernel).transpose(1, 2).flatten(2)
            if ctx.want_maps:
                maps[f'weights_{layer}'] = weights.detach()
                maps.update({f'{name}_{layer}': value for name, value in kernel_parameters(kernel).items()})
        return RelationOutput(packing.unpack(feats), maps=maps)


def _widths(name: str, widths: Sequence[int]) -> tuple[int, ...]:
    """A config's list of widths as a tuple; a `ValueError` unless it holds positive ints."""
    if not isinstance(widths, list | tuple) or not widths:
        raise ValueError(f'SpatialGraphRelation: {name} must be a non-empty list of widths, got {widths!r}')
    for width in widths:
        check_positive(f'every width in {name}', width, 'SpatialGraphRelation')
    return tuple(widths)


def _mlp(in_channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear layers of these widths, each with a ReLU."""
    layers: list[nn.Module] = []
    for before, after in zip((in_channels, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)
