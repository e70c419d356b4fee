"""Command line of tools/analysis_tools/communication.py."""

import inspect

import pytest

from mmdet_ext.analysis import communication
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(communication.run_communication)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'communication.py', communication, 'run_communication')


def bound(seen):
    return SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments


def test_arguments_arrive(run):
    assert bound(run('a.py', 'b.py')) == {
        'configs': ['a.py', 'b.py'], 'ranks': (8, 64), 'link': 12.5, 'out': None, 'dataset': None, 'cfg_options': None,
    }  # fmt: skip
    options = ['--ranks', '2', '16', '--link', '50', '--out', 'f.json', '--dataset', 'd.py', '--cfg-options', 'a.b=1']
    assert bound(run('a.py', *options)) == {
        'configs': ['a.py'], 'ranks': [2, 16], 'link': 50.0, 'out': 'f.json', 'dataset': 'd.py',
        'cfg_options': {'a.b': 1},
    }  # fmt: skip


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('a.py', error=error)
