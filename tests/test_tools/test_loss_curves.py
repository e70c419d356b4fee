"""Command line of tools/analysis_tools/loss_curves.py."""

import inspect

import pytest

from mmdet_ext.analysis.logs import loss_curves
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(loss_curves.run_loss_curves)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'loss_curves.py', loss_curves, 'run_loss_curves')


def test_arguments_arrive(run):
    seen = run('a', 'b')
    given = SIGNATURE.bind(*seen['args'], **seen['kwargs'])
    # The defaults of the tool are those of the function.
    assert given.arguments == {
        'work_dirs': ['a', 'b'], 'out': None, 'interval': None, 'epochs': 5, 'min_change': 0.01, 'share': 0.9,
    }  # fmt: skip
    for name, value in given.arguments.items():
        assert name == 'work_dirs' or SIGNATURE.parameters[name].default == value
    options = ['--out', 'o', '--interval', '7', '--epochs', '4', '--min-change', '0.1', '--share', '0.8']
    seen = run('a', *options)
    assert SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments == {
        'work_dirs': ['a'], 'out': 'o', 'interval': 7, 'epochs': 4, 'min_change': 0.1, 'share': 0.8,
    }  # fmt: skip


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('a', error=error)


def test_a_work_dir_is_needed(run, capsys):
    with pytest.raises(SystemExit):
        run()
    assert 'WORK_DIR' in capsys.readouterr().err
