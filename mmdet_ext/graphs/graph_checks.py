"""What is wrong or odd about a category graph, in sentences."""

import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np

from .names import describe_difference

if TYPE_CHECKING:
    from .category_graph import CategoryGraph

MAX_ROW_SUM_RATIO = 10
_HELD_OUT = {'val', 'valid', 'validation', 'minival', 'test', 'testing', 'testdev'}
_TRAINING = {'train', 'training', 'trainval'}


def find_errors(graph: 'CategoryGraph', classes: Sequence[str]) -> list[str]:
    """What keeps a graph from being used with a data set.

    Args:
        graph: The graph.
        classes: The data set's `metainfo['classes']`.

    Returns:
        One sentence each: a wrong shape or values that are not finite (then nothing else is looked at), other class
        names or another order, an asymmetric matrix in a graph that is not directed.
    """
    size = len(graph.classes)
    matrix = graph.matrix
    if matrix.shape != (size + 1, size + 1):
        return [
            f'the category graph has a matrix of shape {matrix.shape}; {size} classes and the background need '
            f'({size + 1}, {size + 1})'
        ]
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        return [f'the category graph has a value that is not finite, first at row {row}, column {column}']
    sentences = []
    if graph.classes != tuple(classes):
        difference = describe_difference(graph.classes, tuple(classes))
        sentences.append(f'the category graph does not fit the data set: {difference}')
    if not graph.directed and not np.allclose(matrix, matrix.T, rtol=1e-5, atol=1e-6):
        row, column = np.unravel_index(np.abs(matrix - matrix.T).argmax(), matrix.shape)
        sentences.append(
            f'the category graph is not directed but asymmetric: {matrix[row, column]} at row {row}, column '
            f'{column}, and {matrix[column, row]} the other way round; mark it as directed or rebuild it'
        )
    return sentences


def find_oddities(graph: 'CategoryGraph') -> list[str]:
    """What is allowed but seldom meant, one sentence each; the matrix must have the right shape and be finite."""
    sentences = []
    held_out = [source['file'] for source in graph.sources if is_held_out(source['file'])]
    if held_out:
        sentences.append(
            f'the category graph was built from validation or test data ({", ".join(held_out)}): results on it are '
            'too good; build the graph from training files only'
        )
    lonely = isolated_classes(graph)
    if lonely and graph.kind != 'identity':
        sentences.append(f'the category graph has classes without any neighbour: {", ".join(lonely)}')
    sums = np.abs(graph.matrix[:-1]).sum(axis=1)
    positive = sums[sums > 0]
    if positive.size and positive.max() > MAX_ROW_SUM_RATIO * positive.min():
        sentences.append(
            f'the row sums of the category graph reach from {positive.min():.3g} to {positive.max():.3g}: features '
            "of some classes will be that much larger than others'; consider norm='row' or norm='sym'"
        )
    return sentences


def isolated_classes(graph: 'CategoryGraph') -> list[str]:
    """Classes without an edge, of those between which there may be edges."""
    edges = graph.matrix[:-1, :-1] != 0
    np.fill_diagonal(edges, False)
    meant = graph.classes if graph.restrict is None else graph.restrict
    linked = edges.any(0) | edges.any(1)
    return [name for name, has in zip(graph.classes, linked, strict=True) if not has and name in meant]


def is_held_out(file: str) -> bool:
    """Whether the file name, or its folder where the name tells no split, says validation or test."""
    path = PurePath(file)
    for part in (path.stem, path.parent.name):
        words = {re.sub(r'\d+$', '', word) for word in re.split(r'[^a-z0-9]+', part.lower())}
        if words & (_HELD_OUT | _TRAINING):
            return bool(words & _HELD_OUT)
    return False
