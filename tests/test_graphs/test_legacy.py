import hashlib
import pickle
import warnings

import numpy as np
import pytest

from mmdet_ext.graphs import CategoryGraph, import_graph
from mmdet_ext.graphs.legacy import read_matrix

NAMES = ['a', 'b', 'c']
# Background first: its row is empty, as in Reasoning-RCNN's relation graphs.
FIRST = np.array([[0, 0, 0, 0], [0, 1, 0.2, 0.3], [0, 0.2, 1, 0.4], [0, 0.3, 0.4, 1]])
LAST = np.array([[1, 0.2, 0.3, 0], [0.2, 1, 0.4, 0], [0.3, 0.4, 1, 0], [0, 0, 0, 0]])


@pytest.fixture
def write(tmp_path):
    def write(content, name='graph.pkl'):
        # Not in the folder of a test: sources in such folders are taken for test data.
        path = tmp_path / 'old' / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == '.npy':
            np.save(path, content)
        elif path.suffix == '.csv':
            np.savetxt(path, content, delimiter=',')
        else:
            path.write_bytes(pickle.dumps(content))
        return path

    return write


@pytest.mark.parametrize('name', ['graph.pkl', 'graph.pickle', 'graph.npy', 'graph.csv'])
@pytest.mark.parametrize(('matrix', 'background'), [(FIRST, 'first'), (LAST, 'last')])
def test_the_background_comes_last(write, tmp_path, name, matrix, background):
    path = write(matrix, name)
    graph = import_graph(path, NAMES, background)
    np.testing.assert_array_equal(graph.matrix, LAST.astype(np.float32))
    assert (graph.classes, graph.kind, graph.norm, graph.directed) == (tuple(NAMES), 'imported', 'none', False)
    assert graph.sources == [{'file': path.as_posix(), 'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}]
    assert graph.options == {'background': background}
    assert not graph.counts.any()
    saved = CategoryGraph.load(graph.save(tmp_path / 'g.catgraph.json'))
    np.testing.assert_array_equal(saved.matrix, graph.matrix)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        saved.check(NAMES)


def test_moving_the_background_keeps_every_relation():
    rng = np.random.default_rng(0)
    old = rng.random((5, 5))
    names = ['background', *'abcd']
    new = np.roll(old, -1, axis=(0, 1))
    for one in names:
        for two in names:
            places = [*names[1:], 'background']
            assert new[places.index(one), places.index(two)] == old[names.index(one), names.index(two)]


def test_without_background(write):
    graph = import_graph(write(FIRST[1:, 1:]), NAMES, 'none')
    np.testing.assert_array_equal(graph.matrix[:3, :3], FIRST[1:, 1:].astype(np.float32))
    assert graph.matrix[3].tolist() == graph.matrix[:, 3].tolist() == [0, 0, 0, 1]


def test_asymmetric_matrices_are_directed(write):
    graph = import_graph(write(np.triu(np.ones((4, 4)))), NAMES, 'last')
    assert graph.directed
    graph.check(NAMES)


@pytest.mark.parametrize(
    ('matrix', 'hint'),
    [
        (FIRST, "its first row has no edges and its last has, so 'first' is likely"),
        (FIRST + np.diag([1, 0, 0, 0]), "so 'first' is likely"),
        (LAST, "its last row has no edges and its first has, so 'last' is likely"),
        (np.ones((4, 4)), 'its first and last row do not tell'),
        (np.eye(4), 'its first and last row do not tell'),
        (np.ones((3, 3)), "with 3 classes it has no background, which is 'none'"),
    ],
)
def test_the_place_of_the_background_must_be_said(write, matrix, hint):
    path = write(matrix)
    with pytest.raises(ValueError, match=r'say where the background stands .* got None; ') as caught:
        import_graph(path, NAMES)
    assert str(caught.value).endswith(hint)
    with pytest.raises(ValueError, match="'first', 'last', 'none', got 'begin'"):
        import_graph(path, NAMES, 'begin')


@pytest.mark.parametrize(('background', 'size'), [('first', 4), ('last', 4), ('none', 3)])
def test_other_number_of_classes(write, background, size):
    message = rf"matrix of shape \(81, 81\); 3 classes with background '{background}' need \({size}, {size}\)"
    with pytest.raises(ValueError, match=message):
        import_graph(write(np.eye(81)), NAMES, background)


def test_containers_with_one_matrix(write):
    assert read_matrix(write({'adj': FIRST, 'names': ['x'], 'n': 3, 'row': np.ones(4)})).tolist() == FIRST.tolist()
    assert read_matrix(write(FIRST.tolist())).tolist() == FIRST.tolist()
    assert read_matrix(write(FIRST.astype(np.float32))).dtype == np.float64


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ({'a': FIRST, 'b': FIRST}, "must hold exactly one square matrix of numbers, but has 'a', 'b'"),
        ({'a': 1}, 'must hold exactly one square matrix of numbers, but has none'),
        (np.ones((2, 3)), r'holds no square matrix of finite numbers, but ndarray of shape \(2, 3\)'),
        (np.ones(4), r'ndarray of shape \(4,\)'),
        (np.full((2, 2), np.nan), r'ndarray of shape \(2, 2\)'),
        (np.zeros((0, 0)), r'ndarray of shape \(0, 0\)'),
        ('text', 'but str'),
        ([FIRST, FIRST], 'but list'),
        ([[1, 2], [3]], 'but list'),
        (print, r'cannot be read as a matrix: the pickle .* wants to call builtins\.print'),
    ],
)
def test_no_matrix(write, content, sentence):
    path = write(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_matrix(path)
    assert str(path) in str(caught.value)


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'matrix file .*absent\.pkl does not exist'):
        import_graph(tmp_path / 'absent.pkl', NAMES, 'first')
    with pytest.raises(ValueError, match=r'a file of \.pkl, \.pickle, \.npy, \.csv, got .*\.pth'):
        import_graph(tmp_path / 'graph.pth', NAMES, 'first')
    (tmp_path / 'g.csv').write_text('1,x\n2,3\n')
    (tmp_path / 'g.npy').write_text('')
    np.save(tmp_path / 'object.npy', np.array([{}], dtype=object))
    for name in ('g.csv', 'g.npy', 'object.npy'):
        with pytest.raises(ValueError, match=rf'{name} cannot be read as a matrix'):
            import_graph(tmp_path / name, NAMES, 'first')
