"""The command line of the table of what exports; the trials are replaced."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.deployment import support

TOOL = str(Path(__file__).parents[2] / 'tools' / 'deployment' / 'support_table.py')


def run(monkeypatch, *arguments):
    calls = []
    monkeypatch.setattr(support, 'run_support', lambda **kwargs: calls.append(kwargs))
    monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
    runpy.run_path(TOOL, run_name='__main__')
    return calls[-1]


def test_arguments_arrive(monkeypatch):
    given = run(monkeypatch, 'a.py', 'b.py@c.py')
    assert given == {
        'configs': ['a.py', 'b.py@c.py'],
        'out': 'benchmarks/deployment.json',
        'ways': ('onnx', 'torch.export', 'torch.compile'),
        'number': 3,
    }
    given = run(monkeypatch, 'a.py', '--out', 'o.json', '--ways', 'onnx', '--num', '5')
    assert (given['out'], given['ways'], given['number']) == ('o.json', ['onnx'], 5)


def test_errors_are_one_sentence(monkeypatch):
    def fail(**_):
        raise ValueError('no such way')

    monkeypatch.setattr(support, 'run_support', fail)
    monkeypatch.setattr(sys, 'argv', [TOOL, 'a.py'])
    with pytest.raises(SystemExit, match=r'^error: no such way$'):
        runpy.run_path(TOOL, run_name='__main__')
