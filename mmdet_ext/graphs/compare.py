"""What differs between two category graphs."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .category_graph import CategoryGraph

_OPTIONS = ('kind', 'level', 'norm', 'self_loop', 'restrict', 'directed', 'n_images')


@dataclass(frozen=True)
class Edge:
    """A weight that changed, from what a class takes of another one; names instead of indices."""

    row: str
    column: str
    before: float
    after: float


@dataclass(frozen=True)
class GraphDifference:
    """What differs; empty everywhere for equal graphs.

    Attributes:
        added: Classes of the second graph alone.
        removed: Classes of the first graph alone.
        reordered: Whether the classes of both come in another order.
        options: {name: (value of the first, value of the second)}; sources are compared by their sha256.
        edges: Weights between classes of both (and the background) that differ, the largest change first; an edge and
            its mirror image are one in graphs that are not directed.
        counts_changed: Number of pairs of common classes whose counts differ.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    reordered: bool
    options: dict[str, tuple[Any, Any]]
    edges: tuple[Edge, ...]
    counts_changed: int

    def __bool__(self) -> bool:
        return any(vars(self).values())


def compare_graphs(one: CategoryGraph, two: CategoryGraph) -> GraphDifference:
    """Compare two graphs; the classes of both are compared by name."""
    common = [name for name in one.classes if name in two.classes]
    pairs = {key: (getattr(one, key), getattr(two, key)) for key in _OPTIONS}
    pairs |= {key: (one.options.get(key), two.options.get(key)) for key in sorted({*one.options, *two.options})}
    pairs['sources'] = tuple(sorted(source['sha256'] for source in graph.sources) for graph in (one, two))  # type: ignore[assignment]
    before, after = one.remap(common), two.remap(common)
    change = np.abs(after.matrix.astype(np.float64) - before.matrix)
    if not (one.directed or two.directed):
        change = np.triu(change)
    names = [*common, 'background']
    order = np.argsort(-change, axis=None, kind='stable')[: np.count_nonzero(change)]
    return GraphDifference(
        added=tuple(name for name in two.classes if name not in common),
        removed=tuple(name for name in one.classes if name not in common),
        reordered=common != [name for name in two.classes if name in common],
        options={key: values for key, values in pairs.items() if values[0] != values[1]},
        edges=tuple(
            Edge(names[row], names[column], float(before.matrix[row, column]), float(after.matrix[row, column]))
            for row, column in zip(*np.unravel_index(order, change.shape), strict=True)
        ),
        counts_changed=int(np.count_nonzero(before.counts != after.counts)),
    )
