"""The command line of the endurance run; what it runs is replaced."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.reliability import endurance, large_inputs, mixed_precision
from mmdet_ext.reliability.family_trainings import FAMILIES

TOOL = str(Path(__file__).parents[2] / 'tools' / 'endurance.py')
PLACES = {
    'run_endurance': endurance, 'run_large_inputs': large_inputs, 'run_mixed_precision': mixed_precision,
}  # fmt: skip


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the name and the arguments of what it called, and its exit code."""

    def call(*arguments, result=(), error=None):
        calls = []

        def stub(name):
            def replaced(*given, **kwargs):
                calls.append((name, given, kwargs))
                if error:
                    raise error
                return result

            return replaced

        for name, module in PLACES.items():
            monkeypatch.setattr(module, name, stub(name))
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        try:
            runpy.run_path(TOOL, run_name='__main__')
        except SystemExit as end:
            return *calls[-1], end.code
        return *calls[-1], None

    return call


def test_endurance(run):
    name, given, kwargs, code = run(result=[{'flat': True}])
    assert (name, given) == ('run_endurance', ('benchmarks/endurance.json',))
    assert (kwargs['workers'], kwargs['families'], kwargs['seed']) == (2, list(FAMILIES), 0)
    assert 'steps' not in kwargs
    assert not code
    _, given, kwargs, _ = run('faces', '--steps', '400', '--workers', '0', '--out', 'x.json', '--seed', '3')
    assert (given, kwargs['steps'], kwargs['workers'], kwargs['seed']) == (('x.json',), 400, 0, 3)
    assert kwargs['families'] == ['faces']
    assert kwargs['command'].endswith('--seed 3')


def test_large_inputs(run):
    name, given, kwargs, code = run('faces', '--large', '--seed', '3')
    assert (name, given, code) == ('run_large_inputs', ('benchmarks/large_inputs.json',), None)
    assert (kwargs['families'], kwargs['workers'], kwargs['seed']) == (['faces'], 2, 3)


def test_mixed_precision(run):
    good, bad = {'float16': {'seconds': 1}}, {'float16': {'error': 'x'}}
    name, given, kwargs, code = run('--amp', '--steps', '50', result={'faces': {'dtypes': good}})
    assert (name, given, code) == ('run_mixed_precision', ('benchmarks/gpu/mixed_precision.json',), False)
    assert kwargs['steps'] == 50
    assert run('--amp', result={'a': {'dtypes': good}, 'b': {'dtypes': bad}})[-1]


def test_exit_codes(run):
    assert run(result=[{'flat': True}, {'flat': False}])[-1]
    assert run(error=ValueError('a trend needs'))[-1] == 'error: a trend needs'


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [(['--large', '--amp'], 'not allowed with argument'), (['--large', '--steps', '9'], 'leave --steps out')],
)
def test_arguments_that_do_not_go_together(run, capsys, arguments, sentence):
    with pytest.raises(IndexError):  # nothing was called
        run(*arguments)
    assert sentence in capsys.readouterr().err
