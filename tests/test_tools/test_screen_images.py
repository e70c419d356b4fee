"""Command line of tools/analysis_tools/screen_images.py."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.analysis.screening.rules import Limits
from mmdet_ext.datasets.screened_list import read_screened_list
from tests.test_analysis.test_screening.screening_case import write_annotations, write_rows

TOOL = str(Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'screen_images.py')


@pytest.fixture
def run(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
        runpy.run_path(TOOL, run_name='__main__')

    return call


def test_there_and_back(run, tmp_path, capsys):
    ann_file, per_image, out = write_annotations(tmp_path), write_rows(tmp_path), tmp_path / 'out'
    run(ann_file, per_image, '--out', out)
    content = read_screened_list(out / 'screened.json')
    default = Limits()
    assert content['limits']['rules'] == list(default.rules)
    assert (content['limits']['loss_quantile'], content['limits']['min_side']) == (
        default.loss_quantile,
        default.min_side,
    )
    assert '1 of 10 images are left out' in capsys.readouterr().out
    run('--undo', out / 'screened.json', '--out', tmp_path / 'again.json')
    assert f'{tmp_path}/again.json has all images again' in capsys.readouterr().out
    assert json.loads((tmp_path / 'again.json').read_text()) == json.loads(ann_file.read_text())


def test_options_arrive(run, tmp_path):
    ann_file, per_image, out = write_annotations(tmp_path), write_rows(tmp_path), tmp_path / 'out'
    options = ['--rules', 'loss', 'tiny', '--loss-quantile', 0.7, '--loss-column', 'loss_cls', '--min-side', 30]
    run(ann_file, per_image, '--out', out, *options, '--max-share', 1, '--control', 3)
    limits = read_screened_list(out / 'screened.json')['limits']
    assert (limits['rules'], limits['loss_quantile'], limits['loss_column']) == (['loss', 'tiny'], 0.7, 'loss_cls')
    assert limits['min_side'] == 30
    assert len(read_screened_list(out / 'control.json')['images']) == 10
    run(ann_file, per_image, '--out', out, '--truth', out / 'control.json')
    assert read_screened_list(out / 'screened.json')['against']['bad'] == 10


def test_faults_end_in_a_sentence(run, tmp_path):
    ann_file, per_image = write_annotations(tmp_path), write_rows(tmp_path)
    with pytest.raises(SystemExit, match=r"^error: there is no rule 'lose'; the nearest is 'loss'$"):
        run(ann_file, per_image, '--out', tmp_path, '--rules', 'lose')
    with pytest.raises(SystemExit, match=r'^error: There is no .*gone\.csv'):
        run(ann_file, tmp_path / 'gone.csv', '--out', tmp_path)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        ((), 'are needed'),
        (('a.json', 'b.csv'), 'are needed'),
        (('a.json', '--out', 'c'), 'are needed'),
        (('a.json', '--undo', 'b.json'), '--undo takes no other file'),
    ],
)
def test_what_is_missing(run, capsys, arguments, sentence):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert sentence in capsys.readouterr().err
