from dataclasses import replace

import numpy as np
import pytest

from mmdet_ext.graphs import CategoryGraph, compare_graphs
from mmdet_ext.graphs.compare import Edge


@pytest.fixture
def graph():
    matrix = np.eye(5)
    matrix[0, 1] = matrix[1, 0] = 0.5
    matrix[2, 3] = matrix[3, 2] = 0.25
    return CategoryGraph(tuple('abcd'), matrix, np.eye(4), sources=[{'file': 'x.json', 'sha256': '12'}])


def test_equal(graph):
    difference = compare_graphs(graph, replace(graph, sources=[{'file': 'elsewhere/x.json', 'sha256': '12'}]))
    assert not difference
    assert not any(vars(difference).values())


def test_classes(graph):
    difference = compare_graphs(graph, graph.remap(['c', 'a', 'b']))
    assert difference
    assert (difference.added, difference.removed, difference.reordered) == ((), ('d',), True)
    assert (difference.edges, difference.options, difference.counts_changed) == ((), {}, 0)
    difference = compare_graphs(graph.remap(['a', 'd']), graph)
    assert (difference.added, difference.removed, difference.reordered) == (('b', 'c'), (), False)
    assert compare_graphs(graph, CategoryGraph.identity(['x'])).removed == tuple('abcd')


def test_edges_by_size_of_the_change(graph):
    matrix = graph.matrix.copy()
    matrix[0, 1] = matrix[1, 0] = 0.75
    matrix[2, 3] = matrix[3, 2] = 0
    matrix[4, 4] = 0.5
    difference = compare_graphs(graph, replace(graph, matrix=matrix))
    assert difference.edges == (
        Edge('background', 'background', 1, 0.5),
        Edge('a', 'b', 0.5, 0.75),
        Edge('c', 'd', 0.25, 0),
    )
    directed = compare_graphs(graph, replace(graph, matrix=matrix, directed=True))
    assert len(directed.edges) == 5
    assert directed.options == {'directed': (False, True)}


def test_edges_are_compared_by_name(graph):
    other = graph.remap(['d', 'c', 'b', 'a'])
    other.matrix[3, 2] = other.matrix[2, 3] = 1
    assert compare_graphs(graph, other).edges == (Edge('a', 'b', 0.5, 1),)


def test_options_sources_and_counts(graph):
    other = replace(graph, options={'smooth': 1}, n_images=3, counts=np.ones((4, 4)), sources=[])
    difference = compare_graphs(graph, other)
    assert difference.options == {'n_images': (0, 3), 'smooth': (None, 1), 'sources': (['12'], [])}
    assert difference.counts_changed == 12
