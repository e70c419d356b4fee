"""The command line of the relation probe; the probe itself is replaced."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

from mmdet_ext.analysis.relation_probe import probe as relation_probe

TOOL = str(Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'relation_probe.py')


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `run_probe` got."""
    calls = []

    def call(*arguments):
        monkeypatch.setattr(relation_probe, 'run_probe', lambda **kwargs: calls.append(kwargs))
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls[-1]

    return call


def test_defaults(run):
    assert run('c.py', 'w.pth') == {
        'config': 'c.py',
        'checkpoint': 'w.pth',
        'num': None,
        'images': [],
        'out': 'work_dirs/relation_probe',
        'stage': None,
        'seeds': (0, 1, 2),
        'threshold': 0.01,
        'cfg_options': None,
        'command': shlex.join(['python', TOOL, 'c.py', 'w.pth']),
    }


def test_arguments_arrive(run):
    options = ['--num', '5', '--images', 'a b.png', '7', '--out', 'o', '--stage', '1', '--seeds', '4', '5']
    given = run('c.py', 'w.pth', *options, '--threshold', '0.02', '--cfg-options', 'a.b=1')
    assert (given['num'], given['images'], given['out'], given['stage']) == (5, ['a b.png', '7'], 'o', 1)
    assert (given['seeds'], given['threshold'], given['cfg_options']) == ([4, 5], 0.02, {'a.b': 1})


@pytest.mark.parametrize('error', [ValueError, FileNotFoundError])
def test_errors_are_one_sentence(monkeypatch, error):
    def fail(**_):
        raise error('There is no checkpoint w.pth.')

    monkeypatch.setattr(relation_probe, 'run_probe', fail)
    monkeypatch.setattr(sys, 'argv', [TOOL, 'c.py', 'w.pth'])
    with pytest.raises(SystemExit, match=r'^error: There is no checkpoint w\.pth\.$'):
        runpy.run_path(TOOL, run_name='__main__')
