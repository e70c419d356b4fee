"""Command line of tools/dataset_tools/plant_label_noise.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from tests.test_analysis.test_screening.screening_case import write_annotations

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'plant_label_noise.py')


@pytest.fixture
def run(monkeypatch, tmp_path):
    def call(*arguments):
        command = [TOOL, write_annotations(tmp_path), '--out', tmp_path / 'noisy.json', *arguments]
        monkeypatch.setattr(sys, 'argv', [str(argument) for argument in command])
        runpy.run_path(TOOL, run_name='__main__')
        return json.loads((tmp_path / 'noisy.json').read_text())['info']['label_noise']

    return call


def test_options_arrive(run, capsys):
    noted = run()
    assert (noted['share'], noted['kinds'], noted['seed']) == (0.3, ['label', 'box', 'missing'], 0)
    assert 'noisy.json: 10 images, faults in 3 of them (' in capsys.readouterr().out
    noted = run('--share', 0.5, '--kinds', 'box', '--seed', 7)
    assert (noted['share'], noted['kinds'], noted['seed']) == (0.5, ['box'], 7)
    assert '5 of them (5 box)' in capsys.readouterr().out


def test_faults_end_in_a_sentence(run):
    with pytest.raises(SystemExit, match=r"^error: --kinds 'boxes' is none of label, box, missing$"):
        run('--kinds', 'boxes')
