"""The command that makes part files."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'masks2parts.py')


@pytest.fixture
def run(monkeypatch, tmp_path):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments), '-o', str(tmp_path / 'parts.json')])
        runpy.run_path(TOOL, run_name='__main__')
        return json.loads((tmp_path / 'parts.json').read_text())

    return call


@pytest.fixture
def maps(tmp_path):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[2:8, 3:13], pixels[10:12, 4:5] = 1, 2
    (tmp_path / 'maps').mkdir()
    Image.fromarray(pixels).save(tmp_path / 'maps' / '1.png')
    return tmp_path / 'maps'


def test_writes(run, maps, capsys):
    assert run(maps, '--labels', '1=left lung', '2=heart') == {
        '1.png': {'left lung': [3, 2, 10, 6], 'heart': [4, 10, 1, 2]}
    }
    assert 'parts.json: 1 images, 2 part boxes' in capsys.readouterr().out


def test_options(run, maps, tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('L', (30, 20)).save(tmp_path / 'images' / '1.jpg')
    options = ['--labels', '1=left lung', '--images', tmp_path / 'images', '--min-area', 60]
    assert run(maps, *options) == {'1.jpg': {'left lung': [3, 2, 10, 6]}}


def test_bad_input_is_one_sentence(run, maps, capsys):
    with pytest.raises(SystemExit, match=r'^error: .* has no folder per part'):
        run(maps)
    for label in ('left lung', 'x=left lung', '1='):
        with pytest.raises(SystemExit):
            run(maps, '--labels', label)
        assert 'is not of the form 1="left lung"' in capsys.readouterr().err
