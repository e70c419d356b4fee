"""What becomes of a detector when one of its relations is disturbed at test time; everything is undone afterwards."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.models.relations import (
    CategoryGraphRelation,
    GeometryAttentionRelation,
    ObjectCountRelation,
    ObjectPairRelation,
    Packing,
    PartContextRelation,
    PartGeometryRelation,
    Parts,
    RelationContext,
    RelationOutput,
    SpatialGraphRelation,
)
from mmdet_ext.models.relations.keys import select_keys

from .nodes import RelationNode, changed_input, replaced, seen_output

REMOVED = 'removed (mean)'
_PAIRWISE = (GeometryAttentionRelation, SpatialGraphRelation, ObjectPairRelation, ObjectCountRelation)


@dataclass(frozen=True)
class Intervention:
    """One disturbance.

    Attributes:
        relation: Name of the node.
        kind: What is done, in a few words; interventions that differ in their seed share it.
        explanation: The same in a sentence.
        apply: Gives a context manager in which the detector is disturbed.
    """

    relation: str
    kind: str
    explanation: str
    apply: Callable[[], AbstractContextManager]


def find_interventions(
    nodes: Sequence[RelationNode], means: Mapping[str, Tensor], seeds: Sequence[int]
) -> list[Intervention]:
    """All interventions that change something in these relations.

    Args:
        nodes: Of a head, see `find_relations`.
        means: Name of the node -> (E,) mean of its features over the data.
        seeds: Of what is random; each gives an intervention of its own.
    """
    found = []
    for node in nodes:
        found += [
            Intervention(
                node.name,
                REMOVED,
                'its features are replaced by their mean over all RoIs of the data',
                partial(_filled, node.gate, means[node.name]),
            ),
            Intervention(node.name, 'removed (zero)', 'its features are zero', partial(_filled, node.gate, None)),
        ]
        if node.members:
            continue
        found += [
            Intervention(node.name, kind, explanation, apply)
            for kind, explanation, apply in _own_interventions(node.relation, seeds)
        ]
    return found


_Own = Iterator[tuple[str, str, Callable[[], AbstractContextManager]]]


def _own_interventions(relation: nn.Module, seeds: Sequence[int]) -> _Own:
    if isinstance(relation, CategoryGraphRelation):
        yield from _graph_interventions(relation, seeds)
    if isinstance(relation, GeometryAttentionRelation):
        explanation = 'all boxes of the image, or all parts, weigh alike'
        yield 'attention uniform', explanation, partial(_uniform_attention, relation)
    if isinstance(relation, SpatialGraphRelation):
        if relation.learner is not None:
            explanation = 'all boxes of the image are neighbours of the same weight'
            yield 'adjacency uniform', explanation, partial(replaced, relation, 'learner', None)
        if relation.kernel != 'none':
            yield 'kernels off', 'where a neighbour lies does not count', partial(_flat_kernels, relation)
    if isinstance(relation, PartContextRelation | PartGeometryRelation):
        yield 'parts swapped', 'each part is given for the next one of the list', partial(_swapped_parts, relation)
        yield 'parts missing', 'no part is valid', partial(changed_input, relation, _without_parts)
        return
    for seed in seeds:
        if isinstance(relation, GeometryAttentionRelation):
            explanation = 'each box is looked at with the features of another box of the image'
            yield 'keys shuffled', explanation, partial(_shuffled_keys, relation, seed)
        if isinstance(relation, _PAIRWISE):
            explanation = 'features and scores stay, the boxes of the image change places'
            yield 'boxes shuffled', explanation, partial(_shuffled_boxes, relation, seed)


def _graph_interventions(relation: CategoryGraphRelation, seeds: Sequence[int]) -> _Own:
    if relation.attention is not None:
        yield 'image attention uniform', 'the image speaks for no class', partial(_uniform_classes, relation.attention)
    if relation.adjacency is None:
        return
    matrix = relation.adjacency.detach()
    others = [('graph identity', 'each class only knows itself', torch.eye(len(matrix)))]
    for seed in seeds:
        shuffled, renamed = random_graphs(relation, seed)
        others += [
            ('graph random', 'the same edge weights between randomly chosen classes', shuffled),
            ('graph permuted', 'the graph of the classes in another order', renamed),
        ]
    for kind, explanation, other in others:
        other = other.to(matrix)
        if not torch.equal(other, matrix):
            yield kind, explanation, partial(replaced, relation, 'adjacency', other)


def random_graphs(relation: CategoryGraphRelation, seed: int) -> tuple[Tensor, Tensor]:
    """(C + 1, C + 1) adjacency with its edges between other classes, and with its classes in another order.

    The first is that of :meth:`CategoryGraph.randomized`, of the adjacency as it is now (it may have learnt).
    """
    matrix = relation.adjacency.detach().cpu().numpy()
    classes = tuple(map(str, range(len(matrix) - 1))) if relation.graph is None else relation.graph.classes
    graph = CategoryGraph.identity(classes) if relation.graph is None else relation.graph
    graph = replace(graph, matrix=matrix, directed=not np.array_equal(matrix, matrix.T))
    order = np.random.default_rng(seed).permutation(len(classes))
    renamed = graph.remap([classes[index] for index in order])
    return torch.from_numpy(graph.randomized(seed).matrix), torch.from_numpy(renamed.matrix)


def _filled(gate: nn.Module, value: Tensor | None) -> AbstractContextManager:
    def fill(_: tuple, output: RelationOutput | Tensor) -> RelationOutput | Tensor:
        feats = output.feats if isinstance(output, RelationOutput) else output
        other = torch.zeros_like(feats) if value is None else value.to(feats).expand_as(feats)
        return replace(output, feats=other) if isinstance(output, RelationOutput) else other

    return seen_output(gate, fill)


def _uniform_classes(attention: nn.Module) -> AbstractContextManager:
    return seen_output(attention, lambda _, output: torch.full_like(output, 1 / output.shape[-1]))


@contextmanager
def _uniform_attention(relation: GeometryAttentionRelation) -> Iterator[None]:
    layers = ((relation.query, 'weight', 0), (relation.query, 'bias', 0))
    # A weight of 1 for every pair.
    layers += ((relation.geometry, 'weight', 0), (relation.geometry, 'bias', 1))  # type: ignore[assignment]
    with ExitStack() as stack:
        for layer, name, value in layers:
            stack.enter_context(replaced(layer, name, torch.full_like(getattr(layer, name), value)))
        yield


@contextmanager
def _flat_kernels(relation: SpatialGraphRelation) -> Iterator[None]:
    with ExitStack() as stack:
        for kernel in relation.kernels:
            stack.enter_context(seen_output(kernel, lambda _, output: torch.zeros_like(output)))
        yield


def _without_parts(ctx: RelationContext) -> RelationContext:
    parts: Any = ctx.parts
    return replace(ctx, parts=replace(parts, valid=torch.zeros_like(parts.valid)))


def _swapped_parts(relation: PartContextRelation | PartGeometryRelation) -> AbstractContextManager:
    """Geometry sees the boxes of the next part; context keeps the boxes and sees the features of the next part."""

    def swap(ctx: RelationContext) -> RelationContext:
        parts: Parts = ctx.parts.select(relation.part_names, type(relation).__name__)  # type: ignore[union-attr]
        valid = parts.valid.roll(1, 1)
        if isinstance(relation, PartGeometryRelation):
            return replace(ctx, parts=replace(parts, boxes=parts.boxes.roll(1, 1), valid=valid))
        feats = None if parts.feats is None else parts.feats.roll(1, 1)
        cells = {split: own.roll(1, 1) for split, own in parts.cell_feats.items()}
        return replace(ctx, parts=replace(parts, feats=feats, cell_feats=cells, valid=parts.valid & valid))

    return changed_input(relation, swap)


def _shuffled_rows(image: Tensor, movable: Tensor, generator: torch.Generator) -> Tensor:
    """(n,) row to take for each row: the movable rows of an image in another order, the others as they are."""
    rows = torch.arange(len(image))
    image, movable = image.cpu(), movable.cpu()
    for index in image.unique().tolist():
        own = rows[(image == index) & movable]
        rows[own] = own[torch.randperm(len(own), generator=generator)]
    return rows


def _shuffled_boxes(relation: nn.Module, seed: int) -> AbstractContextManager:
    generator = torch.Generator().manual_seed(seed)

    def shuffle(ctx: RelationContext) -> RelationContext:
        image = ctx.rois[:, 0]
        rows = _shuffled_rows(image, torch.ones_like(image, dtype=torch.bool), generator).to(ctx.rois.device)
        return replace(ctx, rois=ctx.rois[rows])

    return changed_input(relation, shuffle)


@contextmanager
def _shuffled_keys(relation: GeometryAttentionRelation, seed: int) -> Iterator[None]:
    """Queries and the boxes of the keys stay. (Boxes in another order below the same features would be the same.)"""
    generator = torch.Generator().manual_seed(seed)
    rows: list[Tensor] = []

    def choose(ctx: RelationContext) -> RelationContext:
        packing = Packing(ctx)
        selected = select_keys(ctx, packing, relation.keys, relation.key_num)
        image = torch.arange(len(packing.counts), device=ctx.rois.device)
        # The rows that `key` and `value` get: all RoIs, image by image, or the chosen ones, padded.
        if relation.key_num is None:
            owner, valid = packing.group(packing.image), packing.group(packing.unpack(selected.mask))
        else:
            owner, valid = image.repeat_interleave(selected.mask.shape[1]), selected.mask.flatten()
        rows[:] = [_shuffled_rows(owner, valid, generator).to(ctx.rois.device)]
        return ctx

    with (
        changed_input(relation, choose),
        seen_output(relation.key, lambda _, output: output[rows[0]]),
        seen_output(relation.value, lambda _, output: output[rows[0]]),
    ):
        yield
