import ast
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mmdet_ext.graphs
from mmdet_ext.graphs import CategoryGraph

NAMES = ('a', 'b', 'c', 'd')
ARRAYS = ('matrix', 'counts')


def assert_equal(one, other):
    fields, others = dict(vars(one)), dict(vars(other))
    for key in ARRAYS:
        assert fields[key].dtype == others[key].dtype
        np.testing.assert_array_equal(fields.pop(key), others.pop(key))
    assert fields == others


def make(classes=NAMES, **changes):
    size = len(classes)
    matrix = np.full((size + 1, size + 1), 0.5)
    fields = {'classes': classes, 'matrix': matrix, 'counts': np.ones((size, size))}
    return CategoryGraph(**{**fields, **changes})


@pytest.fixture
def path(write_coco):
    # a: images 1 to 4; b: images 3, 4 (two boxes), 5; c alone; d never.
    return write_coco({1: 'a', 2: 'a', 3: 'ab', 4: 'abb', 5: 'b', 6: 'c'}, NAMES)


def test_from_coco_default_by_hand(path):
    graph = CategoryGraph.from_coco(path)
    weight = np.float32(2 / np.sqrt(4 * 3))
    expected = np.eye(5, dtype=np.float32)
    expected[0, 1] = expected[1, 0] = weight
    np.testing.assert_array_equal(graph.matrix, expected)
    assert graph.matrix.dtype == np.float32
    assert graph.counts.tolist() == [[4, 2, 0, 0], [2, 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert (graph.classes, graph.kind, graph.level, graph.norm) == (NAMES, 'cooccurrence', 'image', 'sqrt')
    assert (graph.self_loop, graph.restrict, graph.directed, graph.n_images) == (1, None, False, 6)


def test_from_coco_passes_options_on(path):
    graph = CategoryGraph.from_coco(
        [path], level='instance', norm='cond', background='zero', classes=['b', 'a'], self_loop=0.5
    )
    expected = [[0.5, 2 / 4, 0], [2 / 4, 0.5, 0], [0, 0, 0]]
    np.testing.assert_allclose(graph.matrix, expected, rtol=1e-6)
    assert graph.directed
    assert (graph.level, graph.norm, graph.self_loop) == ('instance', 'cond', 0.5)


def test_from_coco_counting_options(write_coco, tmp_path):
    crowd = [{'image_id': 3, 'category_id': 'd', 'iscrowd': 1}]
    path = write_coco({1: 'ab', 2: 'ab', 3: 'ac', 4: 'a', 5: 'bc', 6: ''}, NAMES, extra=crowd)
    options = dict(drop_if={'a': ('c',)}, min_count=2, smooth=1.0, exclude_crowd=False, include_empty=False)
    graph = CategoryGraph.from_coco(path, background='zero', merge={'d': ('d',)}, **options)
    assert graph.counts.tolist() == [[3, 2, 0, 0], [2, 3, 1, 0], [0, 1, 2, 1], [0, 0, 1, 1]]
    assert graph.n_images == 5
    weight = np.float32((2 + 1) / (3 + 4))
    expected = np.eye(5, dtype=np.float32)
    expected[4, 4] = 0
    expected[0, 1] = expected[1, 0] = weight
    np.testing.assert_array_equal(graph.matrix, expected)
    assert graph.options == {
        'merge': {'d': ['d']}, 'drop_if': {'a': ['c']}, 'background': 'zero', 'min_count': 2, 'smooth': 1.0,
        'exclude_crowd': False, 'include_empty': False,
    }  # fmt: skip
    assert_equal(CategoryGraph.load(graph.save(tmp_path / 'g.catgraph.json')), graph)
    assert graph.remap(['a', 'b']).options == graph.options
    assert CategoryGraph.from_coco(path).options == {}


def test_restrict_and_merge(write_coco):
    path = write_coco({1: 'abcd', 2: 'ac', 3: 'd'}, NAMES)
    graph = CategoryGraph.from_coco(path, merge={'bc': ['b', 'c']}, restrict=['bc', 'a'])
    assert graph.classes == ('a', 'bc', 'd')
    assert graph.matrix[:3, :3].tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert graph.counts[0, 2] == 1
    assert graph.restrict == ('bc', 'a')
    with pytest.raises(KeyError, match=r"`restrict` .*'bd' \(nearest: '.+'\)"):
        CategoryGraph.from_coco(path, restrict=['bd'])


def test_restrict_names_that_the_data_lack(write_coco):
    path = write_coco({1: 'abcd', 2: 'ac', 3: 'd'}, NAMES)
    with pytest.warns(UserWarning, match='`restrict` without x, y, which the data do not have'):
        graph = CategoryGraph.from_coco(path, restrict=['x', 'a', 'y', 'b'], restrict_missing='drop')
    assert graph.restrict == ('a', 'b')
    expected = CategoryGraph.from_coco(path, restrict=['a', 'b'])
    np.testing.assert_array_equal(graph.matrix, expected.matrix)
    with pytest.raises(KeyError, match='`restrict`'):
        CategoryGraph.from_coco(path, restrict=['x', 'y'], restrict_missing='drop')
    with pytest.raises(ValueError, match="'error' or 'drop', got 'ignore'"):
        CategoryGraph.from_coco(path, restrict=['a'], restrict_missing='ignore')


def test_identity():
    graph = CategoryGraph.identity(['x', 'y'])
    np.testing.assert_array_equal(graph.matrix, np.eye(3, dtype=np.float32))
    assert (graph.classes, graph.kind, graph.directed) == (('x', 'y'), 'identity', False)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        graph.check(['x', 'y'])


def test_class_names_are_unique():
    with pytest.raises(ValueError, match='more than once: x'):
        CategoryGraph.identity(['x', 'x'])


LABELS = st.lists(st.lists(st.sampled_from(NAMES), max_size=6), max_size=6)
LEVELS = st.sampled_from(['image', 'instance'])


@settings(max_examples=30, deadline=None)
@given(labels=LABELS, level=LEVELS, order=st.permutations(NAMES))
def test_properties(write_coco, labels, level, order):
    path = write_coco(dict(enumerate(labels)), NAMES, name='property_train.json')
    graph = CategoryGraph.from_coco(path, level=level)
    assert np.isfinite(graph.matrix).all()
    assert ((graph.matrix >= 0) & (graph.matrix <= 1)).all()
    np.testing.assert_array_equal(graph.matrix, graph.matrix.T)
    np.testing.assert_array_equal(np.diagonal(graph.matrix), 1)
    # The order of the classes moves rows and columns and nothing else.
    assert_equal(graph.remap(order), CategoryGraph.from_coco(path, level=level, classes=order))
    assert_equal(graph.remap(order).remap(NAMES), graph)


@settings(max_examples=30, deadline=None)
@given(labels=LABELS, level=LEVELS, restrict=st.sets(st.sampled_from(NAMES)))
def test_directed_properties(write_coco, labels, level, restrict):
    path = write_coco(dict(enumerate(labels)), NAMES, name='directed_train.json')
    conditional = CategoryGraph.from_coco(path, level=level, norm='cond').matrix
    assert ((conditional >= 0) & (conditional <= 1)).all()
    row = CategoryGraph.from_coco(path, level=level, norm='row', restrict=sorted(restrict)).matrix
    np.testing.assert_allclose(row.sum(axis=1), 1, rtol=1e-6)
    inside = np.isin(NAMES, list(restrict))
    cut = row[:4, :4][~np.logical_and.outer(inside, inside) & ~np.eye(4, dtype=bool)]
    assert not cut.any()


@settings(max_examples=60, deadline=None)
@given(
    matrix=hnp.arrays(np.float32, (3, 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)),
    counts=hnp.arrays(np.int64, (2, 2), elements=st.integers(0, 2**50)),
    suffix=st.sampled_from(['.catgraph.json', '.npz']),
    self_loop=st.floats(0, 2),
    restrict=st.sampled_from([None, (), ('y',)]),
)
def test_save_and_load_give_the_same_bits(tmp_path_factory, matrix, counts, suffix, self_loop, restrict):
    graph = CategoryGraph(
        ('x', 'y "z"'), matrix, counts, self_loop=self_loop, restrict=restrict, directed=True, n_images=3
    )
    path = graph.save(tmp_path_factory.getbasetemp() / f'bits{suffix}')
    assert_equal(CategoryGraph.load(str(path)), graph)


def test_remap_subset():
    matrix = np.arange(25).reshape(5, 5)
    graph = make(matrix=matrix, counts=np.arange(16).reshape(4, 4), restrict=('a', 'd', 'b'), norm='none')
    part = graph.remap(['d', 'a'])
    assert part.classes == ('d', 'a')
    assert part.matrix.tolist() == [[18, 15, 19], [3, 0, 4], [23, 20, 24]]
    assert part.counts.tolist() == [[15, 12], [3, 0]]
    assert part.restrict == ('a', 'd')
    assert part.norm == 'none'
    assert graph.classes == NAMES


def test_remap_refuses():
    with pytest.raises(KeyError, match=r"`remap` .*'nodul' \(nearest: 'nodule'\), 'x'"):
        make(('mass', 'nodule')).remap(['mass', 'nodul', 'x'])
    with pytest.raises(ValueError, match='`remap` has class names that occur more than once: a'):
        make().remap(['a', 'a'])


@pytest.mark.parametrize(
    ('changes', 'sentence'),
    [
        ({'matrix': np.eye(4)}, r'matrix of shape \(4, 4\); 4 classes and the background need \(5, 5\)'),
        ({'matrix': np.where(np.arange(25).reshape(5, 5) == 7, np.inf, 1)}, 'not finite, first at row 1, column 2'),
        ({'classes': ('a', 'c', 'b', 'd')}, r"only the order differs, first at index 1: .*'c', .*'b'; use `remap"),
        ({'classes': ('a', 'b', 'c', 'x')}, "first difference is at index 3: the graph has 'x', the data set 'd'"),
        ({'matrix': np.triu(np.ones((5, 5)))}, 'not directed but asymmetric: 1.0 at row 0, column 1, and 0.0'),
    ],
)
def test_check_refuses(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**changes).check(NAMES)


def test_check_accepts_without_a_word():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        make(sources=[{'file': 'data/instances_train2017.json', 'sha256': ''}]).check(list(NAMES))
        make(matrix=np.triu(np.ones((5, 5))), directed=True).check(NAMES)
        make(matrix=0.5 + np.full((5, 5), 1e-7) * np.arange(5)).check(NAMES)


@pytest.mark.parametrize(
    ('file', 'held_out'),
    [
        ('data/val.json', True),
        ('instances_val2017.json', True),
        ('a/ChestX_Det_test.json', True),
        ('valid/_annotations.coco.json', True),
        ('test/train.json', False),
        ('data/trainval.json', False),
        ('evaluation/contest.json', False),
        ('train.json', False),
    ],
)
def test_check_warns_about_held_out_sources(file, held_out):
    graph = make(sources=[{'file': 'train.json', 'sha256': ''}, {'file': file, 'sha256': ''}])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        graph.check(NAMES)
    found = [str(item.message) for item in caught]
    assert len(found) == held_out
    assert all(f'validation or test data ({file})' in sentence for sentence in found)


def test_check_warns_about_isolated_classes(path):
    with pytest.warns(UserWarning, match='without any neighbour: c, d$') as caught:
        CategoryGraph.from_coco(path).check(NAMES)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match='without any neighbour: c$'):
        CategoryGraph.from_coco(path, restrict=['a', 'b', 'c']).check(NAMES)
    # Only what takes from others and gives to nobody, or the other way round, has a neighbour too.
    matrix = np.eye(5)
    matrix[0, 1] = matrix[2, 3] = 1
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        make(matrix=matrix, directed=True).check(NAMES)


def test_check_warns_about_row_sums():
    matrix = np.full((5, 5), 1.0)
    matrix[3] = matrix[:, 3] = 0.05
    with pytest.warns(UserWarning, match=r'row sums .* reach from 0\.25 to 4\.05'):
        make(matrix=matrix).check(NAMES)
    matrix[3] = matrix[:, 3] = 0.5
    # The background's row does not count, nor one of zeros.
    matrix[4] = matrix[:, 4] = 0
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        make(matrix=matrix).check(NAMES)


def test_knows_numpy_only():
    allowed = sys.stdlib_module_names | {'numpy'}
    for file in Path(mmdet_ext.graphs.__file__).parent.glob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            assert {module.split('.')[0] for module in modules} <= allowed, file


@pytest.mark.parametrize('name', ['bccd', 'deeppcb', 'hdbpmn'])
def test_real_data(real_data, tmp_path, name):
    file = real_data(name) / 'annotations' / 'train.json'
    graph = CategoryGraph.from_coco(file)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        graph.check(graph.classes)
    assert_equal(CategoryGraph.load(graph.save(tmp_path / 'g.catgraph.json')), graph)
    with pytest.warns(UserWarning, match='validation or test data'):
        CategoryGraph.from_coco(file.with_name('val.json')).check(graph.classes)


def test_files_without_options_still_load(tmp_path, path):
    saved = CategoryGraph.from_coco(path).save(tmp_path / 'old.catgraph.json')
    assert 'options' not in saved.read_text(encoding='utf-8')
    assert CategoryGraph.load(saved).options == {}
