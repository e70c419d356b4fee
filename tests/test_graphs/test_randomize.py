import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.graphs.randomize import shuffle_edges


def make(size, directed):
    matrix = np.random.default_rng(size).random((size + 1, size + 1)).astype(np.float32)
    return matrix if directed else matrix + matrix.T


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 8), directed=st.booleans(), seed=st.integers(0, 99), data=st.data())
def test_properties(size, directed, seed, data):
    matrix = make(size, directed)
    among = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    shuffled = shuffle_edges(matrix, among, directed, seed)
    np.testing.assert_array_equal(shuffled, shuffle_edges(matrix, among, directed, seed))
    stays = np.eye(size + 1, dtype=bool)
    stays[-1] = stays[:, -1] = True
    stays[:-1, :-1] |= ~np.logical_and.outer(among, among)
    np.testing.assert_array_equal(shuffled[stays], matrix[stays])
    np.testing.assert_array_equal(np.sort(shuffled, axis=None), np.sort(matrix, axis=None))
    if directed:
        np.testing.assert_array_equal(np.sort(shuffled), np.sort(matrix))
    else:
        np.testing.assert_array_equal(shuffled, shuffled.T)


@pytest.mark.parametrize('directed', [False, True])
def test_weights_go_everywhere(directed):
    matrix = np.eye(6)
    matrix[0, 1] = 1
    if not directed:
        matrix[1, 0] = 1
    everywhere = np.ones(5, dtype=bool)
    hits = sum(shuffle_edges(matrix, everywhere, directed, seed) for seed in range(200)) - 200 * np.eye(6)
    if directed:
        assert (hits[0, 1:5] > 20).all()
    else:
        assert (hits[:5, :5][~np.eye(5, dtype=bool)] > 5).all()


def test_randomized_graph(write_coco, tmp_path):
    path = write_coco({1: 'abc', 2: 'ab', 3: 'a', 4: 'cd', 5: 'd'}, 'abcd')
    graph = CategoryGraph.from_coco(path, smooth=0.5)
    control = CategoryGraph.load(graph.randomized(3).save(tmp_path / 'control.catgraph.json'))
    assert (control.kind, control.options) == ('random', {'smooth': 0.5, 'seed': 3, 'like': 'cooccurrence'})
    assert control.sources == graph.sources
    assert (graph.kind, graph.options) == ('cooccurrence', {'smooth': 0.5})
    control.check(graph.classes)
    assert (control.matrix != graph.matrix).any()
    np.testing.assert_array_equal(np.sort(control.matrix, axis=None), np.sort(graph.matrix, axis=None))
    assert control.counts.tolist() == np.diag(np.diagonal(graph.counts)).tolist()


def test_rows_keep_their_sums_and_restricted_classes_their_rest(write_coco):
    path = write_coco({1: 'abc', 2: 'ab', 3: 'a', 4: 'cd', 5: 'd'}, 'abcd')
    row = CategoryGraph.from_coco(path, norm='row').randomized(1)
    np.testing.assert_allclose(row.matrix.sum(axis=1), 1, rtol=1e-6)
    restricted = CategoryGraph.from_coco(path, restrict=['a', 'b', 'c']).randomized(0)
    assert restricted.matrix[3].tolist() == [0, 0, 0, 1, 0]
    nothing = CategoryGraph.from_coco(path, restrict=[])
    np.testing.assert_array_equal(nothing.randomized(0).matrix, nothing.matrix)
