"""The commands that draw the phantoms."""

import json
import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / 'tools' / 'dataset_tools'


@pytest.fixture(params=['make_chest_phantom.py', 'make_face_phantom.py'])
def run(request, monkeypatch, tmp_path):
    tool = str(FOLDER / request.param)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [tool, '--out', str(tmp_path / 'phantom'), *arguments])
        runpy.run_path(tool, run_name='__main__')

    return call


SMALL = ['--train', '2', '--val', '1', '--size', '64', '--no-preview']


def test_writes_once(run, tmp_path, capsys):
    run(*SMALL, '--seed', '7')
    info = json.loads((tmp_path / 'phantom/phantom.json').read_text())
    assert (info['seed'], info['size'], info['counts']) == (7, 64, {'train': 2, 'val': 1})
    assert not list((tmp_path / 'phantom').glob('*preview*'))
    out = capsys.readouterr().out
    assert f'written: {tmp_path / "phantom"}' in out
    assert 'train: 2 images' in out
    assert info['hash'] in out
    run(*SMALL, '--seed', '7')
    assert 'is there already, nothing to do' in capsys.readouterr().out


def test_another_phantom_is_replaced_only_when_told(run, tmp_path):
    run(*SMALL)
    with pytest.raises(SystemExit, match=r'^error: '):
        run(*SMALL, '--seed', '1')
    run(*SMALL, '--seed', '1', '--overwrite')
    assert json.loads((tmp_path / 'phantom/phantom.json').read_text())['seed'] == 1


def test_bad_number(run):
    with pytest.raises(SystemExit, match='error: size must be a whole number from 64 to 4096, got 3'):
        run('--size', '3')
