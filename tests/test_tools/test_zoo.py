"""Command line of tools/zoo.py."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.zoo import build, check

TOOL = str(Path(__file__).parents[2] / 'tools' / 'zoo.py')
GIVEN = {'only': (), 'url': None, 'work_dir': None, 'launcher': None, 'jobs': 1, 'options': None}


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `build_zoo` got."""

    def call(*arguments, error=None):
        calls = []

        def stub(**kwargs):
            calls.append(kwargs)
            if error is not None:
                raise error

        monkeypatch.setattr(build, 'build_zoo', stub)
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls

    return call


def test_arguments_arrive(run):
    assert run() == [GIVEN]
    assert run('--only', 'a', 'b', '--url', 'http://x') == [{**GIVEN, 'only': ['a', 'b'], 'url': 'http://x'}]
    given = run('--work-dir', 'w', '--launcher', 'l {config}', '--jobs', '2', '--cfg-options', 'a.b=1')
    assert given == [{**GIVEN, 'work_dir': 'w', 'launcher': 'l {config}', 'jobs': 2, 'options': {'a.b': 1}}]


def test_list(run, monkeypatch, capsys):
    monkeypatch.setattr(build, 'list_zoo', lambda: 'a\nb')
    assert run('--list') == []
    assert capsys.readouterr().out == 'a\nb\n'


def test_check(run, monkeypatch):
    monkeypatch.setattr(check, 'find_problems', lambda: [])
    monkeypatch.setattr(check, 'find_stale_tables', lambda: [])
    with pytest.raises(SystemExit) as end:
        run('--check')
    assert not end.value.code
    monkeypatch.setattr(check, 'find_stale_tables', lambda: ['a table'])
    with pytest.raises(SystemExit, match=r'^a table$'):
        run('--check')
    monkeypatch.setattr(check, 'find_problems', lambda: ['one', 'two'])
    with pytest.raises(SystemExit, match=r'^one\ntwo$'):
        run('--check')


@pytest.mark.parametrize(
    'error', [ValueError('a sentence'), FileNotFoundError('a sentence'), RuntimeError('a sentence')]
)
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run(error=error)


def test_interruption_says_how_to_go_on(run):
    with pytest.raises(SystemExit, match='goes on from the last checkpoints'):
        run(error=KeyboardInterrupt())


def test_list_and_check_exclude_each_other(run, capsys):
    with pytest.raises(SystemExit):
        run('--list', '--check')
    assert 'not allowed with' in capsys.readouterr().err
