"""The table of problems."""

import pytest

from mmdet_ext.engine.check_report import report_problems
from tests.tiny_coco import data_config, make_tiny_coco, tiny_config


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setenv('COLUMNS', '300')
    path = tmp_path / 'tiny.py'
    path.write_text(tiny_config(make_tiny_coco(tmp_path / 'data', n=2)))
    return path


def test_nothing_to_report(config, capsys):
    assert report_problems(config) == 0
    assert capsys.readouterr().out == f'{config}: no problems found\n'


def test_errors_are_listed_and_give_1(config, capsys):
    assert report_problems(config, cfg_options={'model.bbox_head.num_classes': 5}) == 1
    row = next(line for line in capsys.readouterr().out.splitlines() if 'num_classes' in line)
    severity, where, message = (cell.strip() for cell in row.strip('│').split('│'))
    assert (severity, where) == ('error', 'model.bbox_head.num_classes')
    assert message.startswith('`num_classes` is 5, but the `metainfo` of train_dataloader.dataset has 2')


def test_warnings_give_0(config, capsys):
    option = {f'{split}_dataloader.dataset.ann_file': 's3://bucket/a.json' for split in ('train', 'val', 'test')}
    assert report_problems(config, cfg_options=option | {'val_evaluator.ann_file': None}) == 0
    out = capsys.readouterr().out
    assert 'warning' in out
    assert 'is no local path' in out


def test_brackets_in_names_are_no_markup(config, capsys):
    assert report_problems(config, cfg_options={'train_dataloader.dataset.ann_file': 'a[red].json'}) == 1
    assert 'a[red].json' in capsys.readouterr().out


def test_options_are_checked(config, monkeypatch):
    with pytest.raises(ValueError, match="'metainfo' is a helper variable"):
        report_problems(config, cfg_options={'metainfo.classes': ('x',)})
    said = []
    monkeypatch.setattr('mmdet_ext.engine.launch.print_log', lambda text, *_: said.append(text))
    report_problems(config, cfg_options={'model.backbone.depht': 18})
    assert [text for text in said if "nothing knows 'depht'" in text]


def test_images_are_decoded_as_told(config, tmp_path):
    next((tmp_path / 'data/images').iterdir()).write_bytes(b'no picture')
    assert report_problems(config, images='all') == 1
    assert report_problems(config, images='none') == 0


def test_data_of_another_config(config, tmp_path, capsys):
    classes = ('x', 'y', 'z')
    paths = make_tiny_coco(tmp_path / 'other', n=3, classes=classes)
    other = tmp_path / 'other.py'
    other.write_text(data_config(paths, classes))
    assert report_problems(config, dataset=other) == 0
    other.write_text(data_config(paths, ('x', 'y', 'zz')))
    assert report_problems(config, dataset=other) == 1
    assert "'zz' (nearest: 'z')" in capsys.readouterr().out
