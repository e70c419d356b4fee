"""The command line of the endurance run; the run is replaced."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.reliability import endurance, large_inputs

TOOL = str(Path(__file__).parents[2] / 'tools' / 'endurance.py')


def run(monkeypatch, *arguments, rows=(), error=None):
    calls = []

    def stub(*given, **kwargs):
        calls.append((given, kwargs))
        if error:
            raise error
        return rows

    monkeypatch.setattr(endurance, 'run_endurance', stub)
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(TOOL, run_name='__main__')
    return calls[-1], end.value.code


def test_arguments_arrive(monkeypatch):
    (given, kwargs), code = run(monkeypatch, rows=[{'flat': True}])
    assert given == ('benchmarks/endurance.json',)
    assert (kwargs['steps'], kwargs['workers'], kwargs['families']) == (2000, 2, list(endurance.FAMILIES))
    assert not code
    (given, kwargs), _ = run(monkeypatch, 'faces', '--steps', '400', '--workers', '0', '--out', 'x.json', '--seed', '3')
    assert (given, kwargs['steps'], kwargs['workers'], kwargs['seed']) == (('x.json',), 400, 0, 3)
    assert kwargs['families'] == ['faces']
    assert kwargs['command'].endswith('--seed 3')


def test_large_inputs(monkeypatch):
    calls = []
    monkeypatch.setattr(large_inputs, 'run_large_inputs', lambda *given, **kwargs: calls.append((given, kwargs)))
    monkeypatch.setattr(sys, 'argv', [TOOL, 'faces', '--large', '--seed', '3'])
    runpy.run_path(TOOL, run_name='__main__')
    ((given, kwargs),) = calls
    assert given == ('benchmarks/large_inputs.json',)
    assert (kwargs['families'], kwargs['workers'], kwargs['seed']) == (['faces'], 2, 3)
    assert 'steps' not in kwargs


def test_exit_codes(monkeypatch):
    assert run(monkeypatch, rows=[{'flat': True}, {'flat': False}])[1]
    assert run(monkeypatch, error=ValueError('a trend needs'))[1] == 'error: a trend needs'
