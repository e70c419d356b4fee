"""The command that converts the settings of WIDER FACE."""

import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.evaluation.wider_settings import read_settings
from tests.test_evaluation.wider_case import write_mats

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'wider_mat2json.py')


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
    runpy.run_path(TOOL, run_name='__main__')


def test_converts(monkeypatch, tmp_path, capsys):
    run(monkeypatch, write_mats(tmp_path / 'mats'), '-o', tmp_path / 'out.json')
    assert "{'images': 3, 'faces': 6, 'easy': 2, 'medium': 3, 'hard': 5}" in capsys.readouterr().out
    assert len(read_settings(tmp_path / 'out.json')) == 3


def test_missing_files(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match=r'^error: .*wider_face_val\.mat is missing: .*eval_tools\.zip'):
        run(monkeypatch, tmp_path, '-o', tmp_path / 'out.json')
