"""Command line of tools/analysis_tools/shape_table.py."""

import inspect

import pytest

from mmdet_ext.analysis import shape_table
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(shape_table.run_shape_table)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'shape_table.py', shape_table, 'run_shape_table')


def bound(seen):
    return SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments


def test_arguments_arrive(run):
    assert bound(run('c.py')) == {
        'config': 'c.py', 'size': None, 'batch': 1, 'depth': None, 'name': None, 'device': 'cpu', 'flops': False,
        'out': None, 'dataset': None, 'cfg_options': None,
    }  # fmt: skip
    options = ['--size', '64', '96', '--batch', '2', '--depth', '3', '--name', 'neck', '--device', 'meta', '--flops',
               '--out', 't.md', '--dataset', 'd.py', '--cfg-options', 'a.b=1']  # fmt: skip
    assert bound(run('c.py', *options)) == {
        'config': 'c.py', 'size': [64, 96], 'batch': 2, 'depth': 3, 'name': 'neck', 'device': 'meta', 'flops': True,
        'out': 't.md', 'dataset': 'd.py', 'cfg_options': {'a.b': 1},
    }  # fmt: skip


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('c.py', error=error)


def test_a_size_has_two_sides(run, capsys):
    with pytest.raises(SystemExit):
        run('c.py', '--size', '64')
    assert 'expected 2 arguments' in capsys.readouterr().err
