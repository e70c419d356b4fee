"""The command line of the export; the export itself is replaced."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.deployment import export

TOOL = str(Path(__file__).parents[2] / 'tools' / 'deployment' / 'export_onnx.py')


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `run_export` got."""
    calls = []

    def call(*arguments):
        monkeypatch.setattr(export, 'run_export', lambda **kwargs: calls.append(kwargs))
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls[-1]

    return call


def test_defaults(run):
    assert run('c.py', 'w.pth', '--out', 'm.onnx') == {
        'config': 'c.py',
        'checkpoint': 'w.pth',
        'out': 'm.onnx',
        'size': None,
        'opset': 18,
        'verify_images': [],
        'cfg_options': None,
    }


def test_arguments_arrive(run):
    given = run('c.py', 'w.pth', '--out', 'o', '--size', '3', '4', '--opset', '20', '--verify', 'a b.png', 'c.png',
                '--cfg-options', 'a.b=1')  # fmt: skip
    assert (given['size'], given['opset'], given['verify_images']) == ([3, 4], 20, ['a b.png', 'c.png'])
    assert given['cfg_options'] == {'a.b': 1}


def test_file_must_be_named(run):
    with pytest.raises(SystemExit):
        run('c.py', 'w.pth')


@pytest.mark.parametrize('error', [ValueError, FileNotFoundError, ImportError])
def test_errors_are_one_sentence(monkeypatch, error):
    def fail(**_):
        raise error('DETR with DETRHead cannot be exported.')

    monkeypatch.setattr(export, 'run_export', fail)
    monkeypatch.setattr(sys, 'argv', [TOOL, 'c.py', 'w.pth', '--out', 'm.onnx'])
    with pytest.raises(SystemExit, match=r'^error: DETR with DETRHead cannot be exported\.$'):
        runpy.run_path(TOOL, run_name='__main__')
