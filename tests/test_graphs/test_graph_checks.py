from types import SimpleNamespace

import numpy as np
import pytest

from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.graphs.graph_checks import find_errors, find_oddities, is_held_out, isolated_classes


def test_errors_are_all_listed():
    graph = CategoryGraph(('a', 'b'), np.triu(np.ones((3, 3))), np.zeros((2, 2)))
    classes, asymmetry = find_errors(graph, ['b', 'a'])
    assert 'only the order differs, first at index 0' in classes
    assert 'not directed but asymmetric' in asymmetry
    assert find_errors(CategoryGraph.identity(['a', 'b']), ['a', 'b']) == []


def test_nothing_is_looked_at_in_a_matrix_of_another_shape():
    graph = CategoryGraph(('a', 'b'), np.triu(np.ones((4, 4))), np.zeros((2, 2)))
    (sentence,) = find_errors(graph, ['x'])
    assert 'matrix of shape (4, 4); 2 classes and the background need (3, 3)' in sentence


def test_a_graph_of_80_classes_for_a_data_set_of_3001():
    graph = CategoryGraph.identity([f'coco {i}' for i in range(80)])
    (sentence,) = find_errors(graph, [f'genome {i}' for i in range(3000)])
    assert 'the graph has 80 classes, the data set 3000' in sentence
    assert "index 0: the graph has 'coco 0', the data set 'genome 0'" in sentence


def test_oddities_in_their_order():
    matrix = np.eye(4)
    matrix[0, 1] = matrix[1, 0] = 30
    graph = CategoryGraph(('a', 'b', 'c'), matrix, np.zeros((3, 3)), sources=[{'file': 'val.json', 'sha256': ''}])
    held_out, lonely, sums = find_oddities(graph)
    assert 'validation or test data (val.json)' in held_out
    assert lonely.endswith('without any neighbour: c')
    assert 'reach from 1 to 31' in sums


def test_isolated_classes_are_those_that_could_have_edges():
    matrix = np.eye(5)
    matrix[0, 1] = 1
    assert isolated_classes(SimpleNamespace(matrix=matrix, classes=tuple('abcd'), restrict=None)) == ['c', 'd']
    assert isolated_classes(SimpleNamespace(matrix=matrix, classes=tuple('abcd'), restrict=('a', 'd'))) == ['d']


@pytest.mark.parametrize(('file', 'held_out'), [('x/test/train.json', False), ('test/boxes.json', True)])
def test_the_file_name_comes_before_its_folder(file, held_out):
    assert is_held_out(file) == held_out
