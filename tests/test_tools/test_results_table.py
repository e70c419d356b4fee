"""Command line of tools/analysis_tools/results_table.py."""

import inspect

import pytest

from mmdet_ext.analysis import results_table
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(results_table.run_results_table)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'results_table.py', results_table, 'run_results_table')


def bound(seen):
    return SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments


def test_arguments_arrive(run):
    assert bound(run('a', 'b')) == {'folders': ['a', 'b'], 'metrics': (), 'sort': None, 'out': None}
    given = bound(run('a', '--metrics', 'x', 'y', '--sort', 'x', '--out', 'o'))
    assert given == {'folders': ['a'], 'metrics': ['x', 'y'], 'sort': 'x', 'out': 'o'}


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('a', error=error)
