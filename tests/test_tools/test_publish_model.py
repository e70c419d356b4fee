"""Command line of tools/model_converters/publish_model.py."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.zoo import publish

TOOL = str(Path(__file__).parents[2] / 'tools' / 'model_converters' / 'publish_model.py')


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments of the function that it called, behind its name."""

    def call(*arguments, error=None):
        calls = []

        def stub(name):
            def function(*args):
                calls.append((name, *args))
                if error is not None:
                    raise error
                return 'the file'

            return function

        monkeypatch.setattr(publish, 'publish_model', stub('publish'))
        monkeypatch.setattr(publish, 'check_published', stub('check'))
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls

    return call


def test_arguments_arrive(run, capsys):
    assert run('c.pth', 'out') == [('publish', 'c.pth', 'out', None)]
    assert run('c.pth', 'out', '--config', 'c.py') == [('publish', 'c.pth', 'out', 'c.py')]
    assert capsys.readouterr().out == 'the file\nthe file\n'
    assert run('c.pth', '--check') == [('check', 'c.pth')]
    assert capsys.readouterr().out == 'c.pth: whole\n'


@pytest.mark.parametrize('arguments', [('c.pth',), ('c.pth', 'out', '--check')])
def test_one_of_the_two(run, capsys, arguments):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert 'give CHECKPOINT OUT, or --check CHECKPOINT' in capsys.readouterr().err


@pytest.mark.parametrize('error', [ValueError('a sentence'), FileNotFoundError('a sentence')])
def test_faults_end_in_a_sentence(run, error):
    for arguments in (('c.pth', 'out'), ('c.pth', '--check')):
        with pytest.raises(SystemExit, match=r'^error: a sentence$'):
            run(*arguments, error=error)
