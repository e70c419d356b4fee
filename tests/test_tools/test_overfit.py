"""Command line and exit codes of tools/analysis_tools/overfit.py."""

import inspect

import pytest

from mmdet_ext.analysis import overfit
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(overfit.run_overfit)
DEFAULTS = {
    'config': 'c.py', 'num': 8, 'iters': 300, 'target': 0.9, 'work_dir': None, 'dataset': None, 'cfg_options': None,
}  # fmt: skip


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives its exit code, and the arguments that `run_overfit` got."""

    def call(*arguments, reached=True, error=None):
        seen = {}
        tool = make_runner(monkeypatch, 'overfit.py', overfit, 'run_overfit')
        with pytest.raises(SystemExit) as stop:
            tool(*arguments, error=error, result={'reached': reached}, seen=seen)
        bound = SIGNATURE.bind(*seen['args'], **seen['kwargs'])
        return stop.value.code, bound.arguments

    return call


def test_exit_codes(run):
    assert run('c.py', reached=True) == (0, DEFAULTS)
    assert run('c.py', reached=False) == (2, DEFAULTS)


def test_arguments_arrive(run):
    options = ['--num', '2', '--iters', '9', '--target', '0.5', '--work-dir', 'w', '--dataset', 'd.py']
    assert run('c.py', *options, '--cfg-options', 'a.b=1')[1] == {
        'config': 'c.py', 'num': 2, 'iters': 9, 'target': 0.5, 'work_dir': 'w', 'dataset': 'd.py',
        'cfg_options': {'a.b': 1},
    }  # fmt: skip
    for name in ('num', 'iters', 'target', 'work_dir'):
        assert DEFAULTS[name] == SIGNATURE.parameters[name].default


@pytest.mark.parametrize(
    'error', [ValueError('a sentence'), FileNotFoundError('a sentence'), RuntimeError('a sentence')]
)
def test_faults_end_in_a_sentence(run, error):
    assert run('c.py', error=error)[0] == 'error: a sentence'
