"""The command line of the diagnosis; the diagnosis itself is replaced."""

import shlex

import pytest

from mmdet_ext.analysis.diagnosis import diagnose
from tests.test_tools.analysis_tool import TOOLS, make_runner

TOOL = str(TOOLS / 'diagnose.py')


@pytest.fixture
def run(monkeypatch):
    return make_runner(monkeypatch, 'diagnose.py', diagnose, 'run_diagnosis')


def test_defaults(run):
    assert run('c.py', 'w.pth')['kwargs'] == {
        'config': 'c.py',
        'checkpoint': 'w.pth',
        'splits': ['train', 'val'],
        'num': None,
        'image_ids': None,
        'worst': 8,
        'trial_images': 8,
        'out': None,
        'dataset': None,
        'cfg_options': None,
        'command': shlex.join(['python', TOOL, 'c.py', 'w.pth']),
    }


def test_arguments_arrive(run):
    options = ['--split', 'val', '--num', '40', '--image-ids', '7', 'a b.png', '--worst', '3', '--trials', '0']
    given = run('c.py', 'w.pth', *options, '--out', 'o', '--dataset', 'd.py', '--cfg-options', 'a.b=1')['kwargs']
    assert (given['splits'], given['num'], given['image_ids']) == (['val'], 40, ['7', 'a b.png'])
    assert (given['worst'], given['trial_images'], given['out']) == (3, 0, 'o')
    assert (given['dataset'], given['cfg_options']) == ('d.py', {'a.b': 1})


@pytest.mark.parametrize('kind', [ValueError, FileNotFoundError, PermissionError, NotADirectoryError])
def test_errors_are_one_sentence(run, kind):
    with pytest.raises(SystemExit, match=r'^error: There is no checkpoint w\.pth\.$'):
        run('c.py', 'w.pth', error=kind('There is no checkpoint w.pth.'))


def test_an_interruption_ends_without_a_traceback(run):
    with pytest.raises(SystemExit) as ended:
        run('c.py', 'w.pth', error=KeyboardInterrupt())
    assert ended.value.code == 130
