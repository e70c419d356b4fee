"""Command line of tools/analysis_tools/ablate.py."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.analysis.ablation import ablate as ablation

TOOL = str(Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'ablate.py')


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `run_ablation` got."""

    def call(*arguments, error=None):
        calls = []

        def stub(*args, **kwargs):
            calls.append((args, kwargs))
            if error is not None:
                raise error

        monkeypatch.setattr(ablation, 'run_ablation', stub)
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls[0][1]

    return call


def test_arguments_arrive(run):
    given = {'grid_file': 'g.yml', 'launcher': None, 'jobs': 1, 'dry_run': False, 'collect': False, 'restore': None}
    assert run('g.yml') == given
    assert run('g.yml', '--jobs', '3', '--dry-run') == {**given, 'jobs': 3, 'dry_run': True}
    assert run('g.yml', '--restore', 'a.json') == {**given, 'restore': 'a.json'}
    assert run('g.yml', '--collect', '--launcher', 'x {config}') == {**given, 'collect': True, 'launcher': 'x {config}'}


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('g.yml', error=error)


def test_interruption_says_how_to_go_on(run):
    with pytest.raises(SystemExit, match='goes on from the last checkpoints'):
        run('g.yml', error=KeyboardInterrupt())


def test_dry_run_and_collect_exclude_each_other(run, capsys):
    with pytest.raises(SystemExit):
        run('g.yml', '--collect', '--dry-run')
    assert 'not allowed with' in capsys.readouterr().err
