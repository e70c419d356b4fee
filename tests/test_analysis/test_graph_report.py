import re

import numpy as np
import pytest

from mmdet_ext.analysis.graph_report import config_classes, describe_graph, report_check, report_difference
from mmdet_ext.graphs import CategoryGraph
from tests.tiny_coco import data_config

NAMES = ('mass', 'nodule', 'cavity', 'fibrosis')


@pytest.fixture
def graph():
    matrix = np.eye(5)
    matrix[0, 1] = matrix[1, 0] = 0.5
    matrix[1, 2] = matrix[2, 1] = 0.75
    counts = np.array([[9, 2, 0, 0], [2, 4, 3, 0], [0, 3, 5, 0], [0, 0, 0, 1]])
    return CategoryGraph(NAMES, matrix, counts, n_images=30, sources=[{'file': 'train.json', 'sha256': 'ab' * 32}])


def rows(text, header):
    """Cells of the table below a header, split where two spaces are."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if re.split(r' {2,}', line.strip()) == header)
    body = lines[start + 2 :]
    return [re.split(r' {2,}', line.strip()) for line in body[: [*body, ''].index('')]]


def test_describe(graph):
    text = describe_graph(graph)
    assert rows(text, ['class', 'seen', 'neighbours', 'row sum']) == [
        ['mass', '9', '1', '1.500'],
        ['cavity', '5', '1', '1.750'],
        ['nodule', '4', '2', '2.250'],
        ['fibrosis', '1', '0', '1.000'],
    ]
    edges = ['class', 'and', 'weight', 'seen together']
    assert rows(text, edges) == [['nodule', 'cavity', '0.750', '3'], ['mass', 'nodule', '0.500', '2']]
    assert rows(text, ['source', 'sha256']) == [['train.json', 'abababababababab']]
    assert 'row sums: 1 (fibrosis) to 2.25 (nodule), background 1\n' in text
    assert 'classes without neighbours: fibrosis\n' in text
    assert re.search(r'^n_images +30$', text, re.MULTILINE)
    assert re.search(r'^restrict +-$', text, re.MULTILINE)
    assert rows(describe_graph(graph, top=1), edges) == [['nodule', 'cavity', '0.750', '3']]
    with pytest.raises(ValueError, match='top must be at least 1, got 0'):
        describe_graph(graph, top=0)


def test_describe_directed_with_options(graph):
    graph.directed, graph.sources, graph.restrict = True, [], NAMES[:3]
    graph.matrix[1, 0] = -0.9
    graph.options = {'drop_if': {'nodule': ['mass', 'cavity']}, 'smooth': 0.5}
    text = describe_graph(graph)
    edges = rows(text, ['class', 'takes from', 'weight', 'seen together'])
    assert edges[0] == ['nodule', 'mass', '-0.900', '2']
    assert len(edges) == 4
    assert 'sha256' not in text
    assert 'classes without neighbours: none' in text
    assert re.search(r'^drop_if +nodule: mass, cavity$', text, re.MULTILINE)
    assert re.search(r'^restrict +mass, nodule, cavity$', text, re.MULTILINE)


def test_describe_identity():
    text = describe_graph(CategoryGraph.identity(['a', 'b']))
    assert 'classes without neighbours: a, b' in text
    assert 'takes from' not in text


def test_names_that_look_like_numbers(graph):
    graph.classes = ('1', '007', '1e3', 'nan')
    text = describe_graph(graph)
    assert [row[0] for row in rows(text, ['class', 'seen', 'neighbours', 'row sum'])] == ['1', '1e3', '007', 'nan']
    assert rows(text, ['class', 'and', 'weight', 'seen together'])[0] == ['007', '1e3', '0.750', '3']


def test_check(graph, tmp_path, capsys):
    path = graph.save(tmp_path / 'g' / 'train.catgraph.json')
    assert report_check(path, NAMES) == 0
    assert capsys.readouterr().out == (
        'warning: the category graph has classes without any neighbour: fibrosis\n'
        f'{path}: fits the 4 classes of the data set\n'
    )
    graph.matrix[0, 1] = 0
    graph.save(path)
    assert report_check(path, NAMES[::-1]) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.split(':')[0] for line in out] == ['error', 'error', 'warning']
    assert 'only the order differs' in out[0]
    assert 'asymmetric' in out[1]


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (('[1.0, 0.5, 0.0, 0.0, 0.0]', '[1.0, 0.5]'), 'error: .*`matrix` is not a table of numbers'),
        (('[1.0, 0.5, 0.0, 0.0, 0.0]', '[1.0, NaN, 0.0, 0.0, 0.0]'), 'error: .*`matrix` holds NaN or infinite values'),
        (('    "mass",\n', ''), r'error: .*`matrix` has the shape \(5, 5\); 3 classes need \(4, 4\)'),
        (('"catgraph"', '"graph"'), 'error: .*is not a category graph'),
    ],
)
def test_check_of_damaged_files(graph, tmp_path, capsys, change, sentence):
    path = graph.save(tmp_path / 'train.catgraph.json')
    text = path.read_text()
    assert change[0] in text
    path.write_text(text.replace(*change))
    assert report_check(path, NAMES) == 1
    assert re.match(sentence, capsys.readouterr().out)


def test_check_of_a_missing_file(tmp_path, capsys):
    assert report_check(tmp_path / 'absent.catgraph.json', NAMES) == 1
    assert (
        'does not exist; build it with: python tools/dataset_tools/category_graph.py build' in capsys.readouterr().out
    )


def test_difference(graph, tmp_path, capsys):
    one = graph.save(tmp_path / 'one.npz')
    assert report_difference(one, one) == 0
    assert capsys.readouterr().out == 'the graphs are equal\n'
    other = graph.remap(['nodule', 'mass', 'cavity'])
    other.matrix[0, 1] = other.matrix[1, 0] = 0.125
    other.counts[0, 0], other.n_images, other.options = 7, 31, {'smooth': 1.0}
    two = other.save(tmp_path / 'two.npz')
    assert report_difference(one, two) == 1
    text = capsys.readouterr().out
    assert 'classes only in the first: fibrosis\n' in text
    assert 'only in the second' not in text
    assert 'the classes of both come in another order\n' in text
    assert rows(text.replace('1 counts', '\n1 counts'), ['option', 'first', 'second']) == [
        ['n_images', '30', '31'],
        ['smooth', '-', '1.0'],
    ]
    assert '1 counts of pairs of common classes differ\n' in text
    header = ['class', 'takes from', 'first', 'second', 'change']
    assert rows(text, header) == [['mass', 'nodule', '0.500', '0.125', '-0.375']]
    assert report_difference(two, one) == 1
    assert 'classes only in the second: fibrosis\n' in capsys.readouterr().out


def test_difference_of_options_alone(graph, tmp_path, capsys):
    one = graph.save(tmp_path / 'one.npz')
    graph.sources = []
    assert report_difference(one, graph.save(tmp_path / 'two.npz')) == 1
    assert re.search(r'^sources +(ab){32} +none$', capsys.readouterr().out, re.MULTILINE)


def test_classes_of_a_config(tmp_path):
    path = tmp_path / 'data.py'
    path.write_text(data_config({'ann': 'a.json', 'images': 'x'}, classes=('b', 'a')))
    assert config_classes(path) == ('b', 'a')
    path.write_text('a = 1')
    with pytest.raises(ValueError, match='has no `train_dataloader`'):
        config_classes(path)
    with pytest.raises(FileNotFoundError):
        config_classes(tmp_path / 'absent.py')
