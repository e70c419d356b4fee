"""The command line of the benchmark; what is measured is replaced by known numbers."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

from mmdet_ext.analysis.benchmarks import benchmark

TOOL = str(Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'benchmark.py')


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `run_benchmark` got."""

    def call(*arguments):
        calls = []
        monkeypatch.setattr(benchmark, 'run_benchmark', lambda *args, **kwargs: calls.append((args, kwargs)) or [])
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls[-1]

    return call


def test_defaults(run, capsys):
    args, kwargs = run()
    assert args == (list(benchmark.CASES), 'benchmarks/speed.json')
    assert kwargs == dict(device='cpu', seed=0, repeats=None, command=shlex.join(['python', TOOL]))
    assert '| what' in capsys.readouterr().out


def test_options(run):
    args, kwargs = run('relation-step', 'geometry-batch', '--out', 'x', '--repeats', '2', '--seed', '3')
    assert args == (['relation-step', 'geometry-batch'], 'x')
    assert (kwargs['repeats'], kwargs['seed']) == (2, 3)
    assert kwargs['command'].endswith('--seed 3')
