"""Command line of tools/drill.py; the drill itself is replaced."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

from mmdet_ext.reliability import drill

ROOT = Path(__file__).parents[2]
TOOL = str(ROOT / 'tools' / 'drill.py')


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `run_drill` got."""

    def call(*arguments, faults=(), error=None):
        calls = []

        def stub(*args, **kwargs):
            calls.append((args, kwargs))
            if error is not None:
                raise error
            return list(faults)

        monkeypatch.setattr(drill, 'run_drill', stub)
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls[-1]

    return call


def test_defaults(run):
    args, kwargs = run()
    command = shlex.join(['python', TOOL])
    assert args == ('benchmarks/reliability.json',)
    assert kwargs == dict(kills=20, cases=10_000, seed=0, parts=['training', 'files'], repository=ROOT, command=command)


def test_options(run):
    args, kwargs = run('files', '--cases', '50', '--seed', '3', '--kills', '2', '--out', 'x.json')
    assert args == ('x.json',)
    assert (kwargs['parts'], kwargs['cases'], kwargs['seed'], kwargs['kills']) == (['files'], 50, 3, 2)


def test_faults_end_in_a_list(run):
    with pytest.raises(SystemExit) as ended:
        run(faults=['kill: one was lost', 'parts: a crash'])
    assert str(ended.value) == 'error: not as it should be:\nkill: one was lost\nparts: a crash'


def test_a_bad_option_is_a_sentence(run):
    with pytest.raises(SystemExit, match='error: no such part'):
        run(error=ValueError('no such part'))
