"""The checks behind the readers: each must see a wrong result, or the search would be blind to it."""

import numpy as np
import pytest
import torch

from mmdet_ext.datasets.problems import Problem
from mmdet_ext.reliability.hostile import targets as module
from mmdet_ext.reliability.hostile.targets import TARGETS, WrongResultError


def test_every_kind_has_a_name_of_its_own():
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_errors_among_problems_are_raised():
    module._refuse_errors([Problem('warning', 'a', 'odd')])
    with pytest.raises(ValueError, match='b: wrong'):
        module._refuse_errors([Problem('warning', 'a', 'odd'), Problem('error', 'b', 'wrong')])


def _read(name, tmp_path):
    target = next(target for target in TARGETS if target.name == name)
    path = tmp_path / target.file
    path.write_bytes(target.good())
    target.read(path)


def test_other_weights_are_seen(tmp_path, monkeypatch):
    other = {'a': torch.zeros(3, 4), 'b': torch.zeros(5)}
    monkeypatch.setattr(module, 'read_checkpoint', lambda path: {'state_dict': other})
    with pytest.raises(WrongResultError, match='the weights a are others'):
        _read('checkpoint', tmp_path)


@pytest.mark.parametrize('name', ['labels, WIDER FACE', 'labels, RetinaFace'])
def test_a_size_below_zero_is_seen(tmp_path, monkeypatch, name):
    real = module.read_wider_labels

    def broken(path):
        images = real(path)
        object.__setattr__(images[0].faces[0], 'box', (1.0, 1.0, -1.0, 1.0))
        return images

    monkeypatch.setattr(module, 'read_wider_labels', broken)
    with pytest.raises(WrongResultError, match='box'):
        _read(name, tmp_path)


def test_a_matrix_that_is_not_finite_is_seen(tmp_path, monkeypatch):
    real = module.import_graph

    def broken(*args):
        graph = real(*args)
        graph.matrix[0, 0] = np.inf
        return graph

    monkeypatch.setattr(module, 'import_graph', broken)
    with pytest.raises(WrongResultError, match='the matrix'):
        _read('matrix, csv', tmp_path)


def test_a_prediction_that_is_not_finite_is_seen(tmp_path, monkeypatch):
    real = module.read_predictions

    def broken(path):
        images = real(path)
        images[0].scores[0] = torch.nan
        return images

    monkeypatch.setattr(module, 'read_predictions', broken)
    with pytest.raises(WrongResultError, match='not finite'):
        _read('predictions', tmp_path)
