"""Reasoning over classes: the base classifier's weights travel along a category graph back to every RoI."""

import inspect
from pathlib import Path
from typing import cast

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from mmdet_ext.graphs import CategoryGraph

from .base import BaseRelation, RelationContext, RelationOutput, check_positive
from .image_attention import ImageCategoryAttention
from .semantic_pool import MAPPINGS, class_shares, semantic_pool

ORDERS = ('reduce_first', 'map_first')
REDUCES = ('linear', 'linear_relu')
EDGE_NORMS = (None, 'row', 'sym')


def normalize_edges(matrix: Tensor, norm: str | None) -> Tensor:
    """(C + 1, C + 1) adjacency; `'row'`: rows sum to 1, `'sym'`: D^-1/2 A D^-1/2. Rows without edges stay zero."""
    if norm is None:
        return matrix
    degree = matrix.sum(1)
    inverse = torch.where(degree > 0, 1 / degree.clamp(min=torch.finfo(degree.dtype).tiny), 0)
    if norm == 'row':
        return inverse[:, None] * matrix
    return inverse.sqrt()[:, None] * matrix * inverse.sqrt()


def check_attention(attention: dict, owner: str) -> None:
    """Raise a `ValueError` unless these are options of :class:`ImageCategoryAttention`, with `in_channels`."""
    allowed = sorted(set(inspect.signature(ImageCategoryAttention).parameters) - {'pool_channels'})
    if not isinstance(attention, dict) or 'in_channels' not in attention or not set(attention) <= set(allowed):
        raise ValueError(
            f'{owner}: attention must be None or a dict with in_channels, the channels of a feature map; allowed are '
            f'{allowed}, got {attention!r}'
        )


@MODELS.register_module()
class CategoryGraphRelation(BaseRelation):
    r"""Category relation of Reasoning-RCNN (CVPR 2019, section 3) and of SAR-Net's disease relation.

    With the pool `M` (C+1, P) of the base classifier's weights, adjacency `A`, image attention
    `a_b = softmax(q_b M^T)`: `G_b = act((a_b * A M) W)` and `f'_n = softmax(logits_n) G_b`.

    Deviations from the released code: scores and pool belong to the very RoIs that are enhanced (theirs concatenate
    rows of another sampling), any number of RoIs per image works, the image attention ignores batch padding, and the
    graph carries class names that are compared with the data set's.

    Args:
        in_channels: D, width of the RoI features.
        graph: path of a category graph file, `'identity'`, or `'none'` (no multiplication at all).
        out_channels: E.
        pool_channels: width of the base classifier's input; default `in_channels`.
        pool_bias: the classifier's bias is one more column of the pool (P = pool_channels + 1).
        attention: options of :class:`ImageCategoryAttention`, `in_channels` among them, or None.
        order: `'reduce_first'` (as published) or `'map_first'`: project after the soft mapping.
        reduce: `'linear_relu'` (as published) or `'linear'`.
        detach_pool: no gradient from here to the base classifier's weights.
        mapping: `'soft'` or `'argmax'` (the class of highest score only).
        learnable: train the adjacency, starting from `graph`.
        edge_norm: None keeps the file's normalisation; `'row'`, `'sym'` only with a file.
        num_classes: C; a box head fills it in. Only needed by `graph='identity'` with `learnable=True`: a file knows
            it, and must agree.
        init_cfg: as in mmengine.

    Raises:
        ValueError: options out of range or that do not fit together, each with a sentence.
        FileNotFoundError: no such graph file; the message names the command that builds it.

    Attributes:
        graph: the :class:`~mmdet_ext.graphs.CategoryGraph` of the file, or None; a hook compares its classes with the
            data set's before the first step.
    """

    fills = frozenset({'pool_channels', 'num_classes'})
    gradient_to_feats = False

    def __init__(
        self,
        in_channels: int,
        graph: str = 'identity',
        out_channels: int = 256,
        pool_channels: int | None = None,
        pool_bias: bool = True,
        attention: dict | None = None,
        order: str = 'reduce_first',
        reduce: str = 'linear_relu',
        detach_pool: bool = True,
        mapping: str = 'soft',
        learnable: bool = False,
        edge_norm: str | None = None,
        num_classes: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, init_cfg or dict(type='Xavier', layer='Linear'))
        options = (
            ('order', order, ORDERS),
            ('reduce', reduce, REDUCES),
            ('mapping', mapping, MAPPINGS),
            ('edge_norm', edge_norm, EDGE_NORMS),
        )
        for name, given, allowed in options:
            if given not in allowed:
                raise ValueError(f'{type(self).__name__}: {name}={given!r}, allowed are {allowed}')
        if not isinstance(graph, str | Path):
            raise ValueError(
                f"{type(self).__name__}: graph={graph!r}, allowed are 'identity', 'none' and the path of a category "
                'graph file'
            )
        if edge_norm is not None and graph in ('identity', 'none'):
            raise ValueError(
                f'{type(self).__name__}: edge_norm={edge_norm!r} normalises the edges of a graph file and does nothing '
                f'with graph={graph!r}; leave it out'
            )
        if attention is not None:
            check_attention(attention, type(self).__name__)
        self.order, self.mapping, self.detach_pool, self.pool_bias = order, mapping, detach_pool, pool_bias
        self.pool_channels = in_channels if pool_channels is None else pool_channels
        check_positive('pool_channels', self.pool_channels, type(self).__name__)
        width = self.pool_channels + bool(pool_bias)
        self.project = nn.Sequential(
            nn.Linear(width, out_channels), nn.ReLU() if reduce == 'linear_relu' else nn.Identity()
        )
        self.attention = None if attention is None else ImageCategoryAttention(pool_channels=width, **attention)
        self.needs = frozenset({'cls_logits', 'cls_weight'} | ({'feature_maps'} if attention is not None else set()))
        self.graph = None if graph in ('identity', 'none') else CategoryGraph.load(Path(graph))
        self._set_adjacency(graph, learnable, edge_norm, num_classes)

    def _set_adjacency(self, graph: str, learnable: bool, edge_norm: str | None, num_classes: int | None) -> None:
        if self.graph is not None:
            if num_classes not in (None, len(self.graph.classes)):
                raise ValueError(
                    f'{type(self).__name__}: num_classes={num_classes} (of the head, where the relation names none) '
                    f'but {graph} has {len(self.graph.classes)} classes; build the graph from this data set, or '
                    'correct num_classes'
                )
            adjacency = normalize_edges(torch.from_numpy(self.graph.matrix.copy()), edge_norm)
        elif not learnable:
            # The identity, or no graph: M itself.
            self.register_buffer('adjacency', None)
            return
        elif graph == 'none' or num_classes is None:
            raise ValueError(
                f"{type(self).__name__}: learnable=True needs a graph to start from: a file, or graph='identity' with "
                f'num_classes; got graph={graph!r}, num_classes={num_classes}'
            )
        else:
            adjacency = torch.eye(num_classes + 1)
        if learnable:
            self.adjacency = nn.Parameter(adjacency)
        else:
            self.register_buffer('adjacency', adjacency)

    def _nodes(self, cls_weight: Tensor) -> tuple[Tensor, Tensor]:
        """The pool (C + 1, P), and the pool after one step along the graph."""
        name = type(self).__name__
        pool = semantic_pool(cls_weight, self.pool_channels, self.pool_bias, self.detach_pool, name)
        if self.adjacency is None:
            return pool, pool
        if self.adjacency.shape[0] != len(pool):
            raise ValueError(
                f'{name}: the graph has {self.adjacency.shape[0] - 1} classes (and background), the classifier '
                f'{len(pool) - 1}; build the graph from this data set or use CategoryGraph.remap'
            )
        return pool, self.adjacency.to(pool.dtype) @ pool

    def forward(self, ctx: RelationContext) -> RelationOutput:
        """(N, E). Maps: `image_attention` (B, C + 1), `adjacency` (C + 1, C + 1)."""
        self.check(ctx)
        pool, nodes = self._nodes(cast(Tensor, ctx.cls_weight))
        mapping = class_shares(cast(Tensor, ctx.cls_logits), self.mapping).to(pool.dtype)
        maps = {}
        if self.attention is None:
            feats = mapping @ self.project(nodes) if self.order == 'reduce_first' else self.project(mapping @ nodes)
        else:
            image = ctx.rois[:, 0].long()
            attention = self.attention(ctx.feature_maps, ctx.img_shapes, pool)
            if self.order == 'reduce_first':
                nodes = self.project(attention[:, :, None] * nodes)
                feats = torch.einsum('nc,nce->ne', mapping, nodes[image])
            else:
                feats = self.project((mapping * attention[image]) @ nodes)
            if ctx.want_maps:
                maps['image_attention'] = attention.detach()
        if ctx.want_maps and self.adjacency is not None:
            maps['adjacency'] = self.adjacency.detach()
        return RelationOutput(feats, maps=maps)
