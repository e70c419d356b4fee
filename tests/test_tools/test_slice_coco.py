"""The command that cuts a data set into tiles."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from tiny_coco import make_tiny_coco

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'slice_coco.py')


@pytest.fixture
def run(monkeypatch, tmp_path):
    data = make_tiny_coco(tmp_path / 'in', n=2, size=64)

    def call(*arguments):
        command = [TOOL, data['ann'], data['images'], '--out', tmp_path / 'tiles', *arguments]
        monkeypatch.setattr(sys, 'argv', [str(argument) for argument in command])
        runpy.run_path(TOOL, run_name='__main__')
        written = next((tmp_path / 'tiles/annotations').iterdir())
        return written.name, json.loads(written.read_text())

    return call


def test_writes(run, capsys):
    name, coco = run()
    assert name == 'ann.json'
    assert len(coco['images']) == 2
    assert (
        'tiles: 2 tiles of 2 pictures (0 empty tiles left out), 2 boxes and 0 ignored pieces of boxes; of the 2 boxes '
        'of the source, 0 count in no tile'
    ) in capsys.readouterr().out


def test_options(run):
    options = {'tile': 16, 'long_side': 48, 'overlap': 0.25, 'min_visible': 0.7}
    arguments = [text for key, value in options.items() for text in (f'--{key.replace("_", "-")}', value)]
    name, coco = run('--name', 'val', '--keep-empty', *arguments)
    assert name == 'val.json'
    assert coco['info']['options'] == {**options, 'keep_empty': True}
    assert len(coco['images']) == 2 * 4 * 4  # 48 = 16 + 2 * 12 + 8: four tiles a side


def test_bad_input_is_one_sentence(run):
    with pytest.raises(SystemExit, match=r'^error: --overlap 1\.0 is not at least 0 and below 1$'):
        run('--overlap', 1)
