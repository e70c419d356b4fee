"""The command line of the suites on every Python and stack; the suites are replaced."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.utils import support_matrix

TOOL = str(Path(__file__).parents[2] / 'tools' / 'support_matrix.py')


def run(monkeypatch, *arguments, rows=(), error=None):
    calls = []

    def stub(*given, **kwargs):
        calls.append((*given, kwargs.pop('commit') is not None))
        if error:
            raise error
        return rows

    monkeypatch.setattr(support_matrix, 'run_matrix', stub)
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(TOOL, run_name='__main__')
    return calls[-1], end.value.code


def test_arguments_arrive(monkeypatch):
    given, code = run(monkeypatch)
    assert given[:4] == ('benchmarks/support.json', ('3.10', '3.11', '3.12'), ('default', 'onedl'), {})
    assert not code
    given, _ = run(
        monkeypatch, '--pythons', '3.12', '--stacks', 'onedl', '--python', '3.12', '/opt/p', '--out', 'x.json'
    )
    assert given[:4] == ('x.json', ['3.12'], ['onedl'], {'3.12': '/opt/p'})


def test_exit_codes(monkeypatch):
    assert run(monkeypatch, rows=[{'problem': 'make ended'}])[1]
    assert not run(monkeypatch, rows=[{'problem': ''}, {'skipped_because': 'no Python'}])[1]
    assert run(monkeypatch, error=ValueError('no such stack'))[1] == 'error: no such stack'
