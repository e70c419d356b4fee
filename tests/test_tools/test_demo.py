"""The command line of the demo."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.analysis.demo import demo

TOOL = Path(__file__).parents[2] / 'tools' / 'demo.py'


@pytest.fixture
def run(monkeypatch):
    """Run the tool with arguments; `run_demo` is replaced by what is given."""

    def call(arguments, run_demo):
        monkeypatch.setattr(demo, 'run_demo', run_demo)
        monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
        runpy.run_path(str(TOOL), run_name='__main__')

    return call


def test_defaults_are_the_whole_demo(run):
    calls = []
    run([], lambda **kwargs: calls.append(kwargs))
    assert calls == [{
        'work_dir': 'work_dirs/demo', 'data': 'data/chest_phantom', 'train': 600, 'val': 200, 'epochs': None,
        'fresh': False, 'cfg_options': None,
    }]  # fmt: skip


def test_every_argument_arrives(run):
    calls = []
    arguments = ['--work-dir', 'w', '--data', 'd', '--train', '8', '--val', '4', '--epochs', '1', '--fresh']
    arguments += ['--cfg-options', 'a.b=3', 'c=x']
    run(arguments, lambda **kwargs: calls.append(kwargs))
    assert calls == [{
        'work_dir': 'w', 'data': 'd', 'train': 8, 'val': 4, 'epochs': 1, 'fresh': True,
        'cfg_options': {'a.b': 3, 'c': 'x'},
    }]  # fmt: skip


@pytest.mark.parametrize(
    ('error', 'words'),
    [
        (ValueError('no such thing'), 'error: no such thing'),
        (RuntimeError('see the log'), 'error: see the log'),
        (KeyboardInterrupt(), 'goes on from the last checkpoint'),
    ],
)
def test_failures_end_in_one_sentence(run, error, words):
    def fail(**_):
        raise error

    with pytest.raises(SystemExit, match=words):
        run([], fail)
