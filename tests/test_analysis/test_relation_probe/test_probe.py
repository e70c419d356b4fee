"""The whole probe on three images."""

import json

import pytest

from mmdet_ext.analysis.plain_values import plain
from mmdet_ext.analysis.relation_probe import probe as relation_probe
from mmdet_ext.analysis.relation_probe.probe import format_verdicts, run_probe
from tests.test_analysis.html_page import Page
from tests.test_analysis.test_relation_probe import probe_case
from tests.test_analysis.test_relation_probe.test_verdict import PLAIN, give_verdicts, outcome


def test_report_and_summary(tmp_path, capsys):
    files = probe_case.files()
    summary = run_probe(
        files.config,
        files.checkpoint,
        tmp_path,
        num=2,
        images=['2', '000001.png'],
        seeds=(0,),
        cfg_options={'model.test_cfg.rcnn.max_per_img': 5},
        command='a command',
    )
    stored = json.loads((tmp_path / 'summary.json').read_text())
    assert stored == json.loads(json.dumps(plain(summary)))
    assert stored['images'] == 2
    assert len(stored['verdicts']) == 12
    kinds = [(each['relation'].split()[-1], each['kind']) for each in stored['outcomes'][1:]]
    assert ('CategoryGraphRelation', 'graph permuted') in kinds
    assert {table['kind'] for table in stored['class_tables']} == {'effect', 'attention'}
    text = (tmp_path / 'report.html').read_text()
    page = Page(text)
    assert all(source.startswith('data:image/png;base64,') for source in page.sources), 'nothing beside the page'
    assert len(page.sources) >= 9
    for words in (
        'This is no retraining',
        'a command',
        'This detector hardly finds anything',
        '000001.png',
        'graph random',
    ):
        assert words in page.words
    names = {path.name for path in (tmp_path / 'pictures').iterdir()}
    assert {'effect_0_CategoryGraphRelation.png', 'attention_3_GeometryAttentionRelation.png'} <= names
    assert {'kernels_2_SpatialGraphRelation.png', 'kernels_8-1_SpatialGraphRelation.png'} <= names
    assert '2 images, 12 relations' in capsys.readouterr().out


def test_images_are_chosen_that_show_something(monkeypatch):
    detector, nodes = probe_case.detector(), probe_case.nodes()
    monkeypatch.setattr(relation_probe, 'SCORE_THR', 0.0)
    monkeypatch.setattr(relation_probe, 'MAX_PICTURES', 2)
    assert len(relation_probe.view_images(detector, nodes, None)) == 2
    monkeypatch.setattr(relation_probe, 'SCORE_THR', 1.1)
    assert relation_probe.view_images(detector, nodes, None) == []
    (view,) = relation_probe.view_images(detector, nodes, [1])
    assert len(view.detections) == 0


def test_table_for_the_console():
    outcomes = [PLAIN, outcome('g', 'removed (mean)', 0.4, 0.125)]
    lines = format_verdicts(outcomes, give_verdicts(outcomes, 0.01, 0.05)).splitlines()
    assert lines[0] == 'AP as it is: 0.500'
    assert lines[-1].split() == ['g', 'matters', '-0.100', '0.125', '0.0%']


def test_a_detector_without_relations(tmp_path):
    files = probe_case.files()
    with pytest.raises(ValueError, match='FasterRCNN has no relations to look at: its box heads are Shared2FCBBoxHead'):
        run_probe(files.plain, files.plain_checkpoint, tmp_path)
