"""Command line of tools/analysis_tools/experiment_log.py."""

import pytest

from mmdet_ext.analysis.logs import experiment_log
from tests.test_tools.analysis_tool import TOOLS, make_runner


@pytest.fixture
def run(monkeypatch):
    monkeypatch.chdir(TOOLS.parents[1])
    return make_runner(monkeypatch, 'experiment_log.py', experiment_log, 'write_experiment_logs')


def test_arguments_arrive(run, capsys):
    seen = run('a', 'b', '--results', 'x.json', 'y.json', result=['a/README.md'])
    assert seen['args'] == (['a', 'b'], ['x.json', 'y.json'])
    assert capsys.readouterr().out == 'a/README.md\n'
    folders, results = run(result=[])['args']
    assert results is None
    assert 'configs/single_shot/experiments' in [folder.as_posix() for folder in folders]


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    with pytest.raises(SystemExit, match=r'^error: a sentence$'):
        run('a', error=error)
