"""Command line of tools/analysis_tools/compute_mean_std.py."""

import inspect

import pytest

from mmdet_ext.analysis import mean_std
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(mean_std.run_mean_std)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'compute_mean_std.py', mean_std, 'run_mean_std')


def bound(seen):
    return SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments


def test_arguments_arrive(run):
    assert bound(run('c.py')) == {
        'config': 'c.py', 'num': None, 'workers': None, 'seed': 0, 'dataset': None, 'cfg_options': None,
    }  # fmt: skip
    options = ['--num', '7', '--workers', '0', '--seed', '3', '--dataset', 'd.py', '--cfg-options', 'a.b=1']
    assert bound(run('c.py', *options)) == {
        'config': 'c.py', 'num': 7, 'workers': 0, 'seed': 3, 'dataset': 'd.py', 'cfg_options': {'a.b': 1},
    }  # fmt: skip


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('c.py', error=error)
