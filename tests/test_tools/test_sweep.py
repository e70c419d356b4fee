"""Command line of tools/analysis_tools/sweep.py."""

import inspect

import pytest

from mmdet_ext.analysis.sweep import sweep
from tests.test_tools.analysis_tool import make_runner

SIGNATURE = inspect.signature(sweep.run_sweep)


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'sweep.py', sweep, 'run_sweep')


def test_arguments_arrive(run):
    seen = run('c.py', 'p.pkl')
    given = SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments
    assert given == {
        'config': 'c.py', 'predictions': 'p.pkl', 'score_thrs': sweep.SCORE_THRS, 'top_ks': sweep.TOP_KS,
        'nms_ious': (), 'out': None, 'dataset': None, 'cfg_options': None,
    }  # fmt: skip
    options = ['--score-thr', '0', '0.5', '--top-k', '1', '9', '--nms-iou', '0.3', '--out', 'o', '--dataset', 'd.py']
    seen = run('c.py', 'p.pkl', *options, '--cfg-options', 'a.b=1')
    assert SIGNATURE.bind(*seen['args'], **seen['kwargs']).arguments == {
        'config': 'c.py', 'predictions': 'p.pkl', 'score_thrs': [0.0, 0.5], 'top_ks': [1, 9], 'nms_ious': [0.3],
        'out': 'o', 'dataset': 'd.py', 'cfg_options': {'a.b': 1},
    }  # fmt: skip


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('c.py', 'p.pkl', error=error)


def test_numbers_are_numbers(run, capsys):
    with pytest.raises(SystemExit):
        run('c.py', 'p.pkl', '--top-k', '1.5')
    assert 'invalid int value' in capsys.readouterr().err
