"""What the category graph command prints: a graph, its fit to a data set, the difference between two graphs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from mmdet_ext.engine.dataset_overlay import class_names
from mmdet_ext.engine.launch import load_config
from mmdet_ext.graphs import CategoryGraph, compare_graphs
from mmdet_ext.graphs.graph_checks import find_errors, find_oddities, isolated_classes

_FACTS = ('kind', 'level', 'norm', 'self_loop', 'restrict', 'directed', 'n_images')


def config_classes(config: str | Path) -> tuple[str, ...]:
    """Class names of a config's training data, without building anything.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: It has no training data, or these name no classes.
    """
    loader = load_config(config).get('train_dataloader')
    if not loader:
        raise ValueError(f'{config} has no `train_dataloader`; give the classes themselves, or the config that trains')
    return class_names(loader['dataset'])


def report_check(path: str | Path, classes: Sequence[str]) -> int:
    """Print everything that is wrong or odd about a graph file for a data set of these classes.

    Returns:
        Exit code: 1 with errors, 0 with warnings only or nothing.
    """
    oddities: list[str] = []
    try:
        graph = CategoryGraph.load(path)
        errors = find_errors(graph, classes)
        oddities = find_oddities(graph)
    except (ValueError, FileNotFoundError) as error:
        errors = [str(error)]
    for severity, sentences in (('error', errors), ('warning', oddities)):
        for sentence in sentences:
            print(f'{severity}: {sentence}')
    if not errors:
        print(f'{path}: fits the {len(classes)} classes of the data set')
    return int(bool(errors))


def describe_graph(graph: CategoryGraph, top: int = 20) -> str:
    """Tables of how a graph was made, of its commonest classes and of its strongest edges.

    Args:
        graph: The graph.
        top: Number of classes and of edges in the tables.

    Raises:
        ValueError: `top` is below 1.
    """
    if top < 1:
        raise ValueError(f'top must be at least 1, got {top}')
    facts = {key: getattr(graph, key) for key in _FACTS} | graph.options
    sums = np.abs(graph.matrix).sum(axis=1)
    low, high = (graph.classes[index] for index in (sums[:-1].argmin(), sums[:-1].argmax()))
    isolated = isolated_classes(graph)
    parts = [
        _table([(key, _text(value)) for key, value in facts.items()]),
        _class_table(graph, sums, top),
        f'row sums: {sums[:-1].min():.3g} ({low}) to {sums[:-1].max():.3g} ({high}), background {sums[-1]:.3g}',
        f'classes without neighbours: {", ".join(isolated) or "none"}',
        _edge_table(graph, top),
        _table([(source['file'], source['sha256'][:16]) for source in graph.sources], ('source', 'sha256')),
    ]
    return '\n\n'.join(part for part in parts if part)


def report_difference(one: str | Path, two: str | Path, top: int = 20) -> int:
    """Print what differs between two graph files.

    Returns:
        Exit code, as of `diff`: 0 for equal graphs, 1 otherwise.
    """
    difference = compare_graphs(CategoryGraph.load(one), CategoryGraph.load(two))
    if not difference:
        print('the graphs are equal')
        return 0
    for what, names in (('only in the second', difference.added), ('only in the first', difference.removed)):
        if names:
            print(f'classes {what}: {", ".join(names)}')
    if difference.reordered:
        print('the classes of both come in another order')
    if difference.options:
        rows = [(key, *map(_text, values)) for key, values in difference.options.items()]
        print(_table(rows, ('option', 'first', 'second')))
    if difference.counts_changed:
        print(f'{difference.counts_changed} counts of pairs of common classes differ')
    if difference.edges:
        print(f'{len(difference.edges)} weights differ, those that changed most:')
        edges = [(e.row, e.column, e.before, e.after, e.after - e.before) for e in difference.edges[:top]]
        print(_table(edges, ('class', 'takes from', 'first', 'second', 'change'), 2))
    return 1


def _class_table(graph: CategoryGraph, sums: np.ndarray, top: int) -> str:
    own = np.diagonal(graph.counts)
    neighbours = np.count_nonzero(graph.matrix[:-1, :-1], axis=1) - (np.diagonal(graph.matrix)[:-1] != 0)
    rows = [
        (graph.classes[index], own[index], neighbours[index], sums[index])
        for index in np.argsort(-own, kind='stable')[:top]
    ]
    return _table(rows, ('class', 'seen', 'neighbours', 'row sum'), 1)


def _edge_table(graph: CategoryGraph, top: int) -> str:
    """The strongest edges; where the graph is not directed each of them once."""
    weights = graph.matrix[:-1, :-1].copy()
    np.fill_diagonal(weights, 0)
    if not graph.directed:
        weights = np.triu(weights)
    strongest = np.argsort(-np.abs(weights), axis=None, kind='stable')[: min(top, np.count_nonzero(weights))]
    rows = [
        (graph.classes[i], graph.classes[j], graph.matrix[i, j], graph.counts[i, j])
        for i, j in zip(*np.unravel_index(strongest, weights.shape), strict=True)
    ]
    names = ('class', 'takes from' if graph.directed else 'and', 'weight', 'seen together')
    return _table(rows, names, 2)


def _table(rows: Sequence[tuple], headers: Sequence[str] = (), texts: int | None = None) -> str:
    """A table whose first `texts` columns (default: all) are text, also where it looks like a number."""
    return tabulate(rows, headers, floatfmt='.3f', disable_numparse=range(texts) if texts else True) if rows else ''


def _text(value: Any) -> str:
    """An option as the command line takes it, as far as that is possible."""
    if isinstance(value, dict):
        return '; '.join(f'{key}: {", ".join(others)}' for key, others in value.items())
    if isinstance(value, list | tuple):
        return ', '.join(map(str, value)) or 'none'
    return '-' if value is None else str(value)
