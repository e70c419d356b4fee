"""VOC xml as COCO json: the same data set for mmdet."""

import json
import os
import runpy
import sys
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset, VOCDataset
from mmengine.registry import init_default_scope
from PIL import Image

from mmdet_ext.datasets.converters.voc_to_coco import voc_to_coco

TOOL = Path(__file__).parents[3] / 'tools' / 'dataset_tools' / 'voc2coco.py'
OBJECT = (
    '<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>'
    '<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>'
)


@pytest.fixture
def voc(tmp_path):
    objects = {'one': [('cell', 0, 3, 4, 13, 24), ('dot', 0, 1, 1, 5, 6)], 'two': [('dot', 1, 2, 2, 9, 9)], 'three': []}
    for folder in ('JPEGImages', 'Annotations', 'ImageSets'):
        (tmp_path / 'V' / folder).mkdir(parents=True)
    for name, items in objects.items():
        Image.new('RGB', (40, 30)).save(tmp_path / 'V' / 'JPEGImages' / f'{name}.jpg')
        body = ''.join(OBJECT.format(*item) for item in items)
        text = f'<annotation><size><width>40</width><height>30</height></size>{body}</annotation>'
        (tmp_path / 'V' / 'Annotations' / f'{name}.xml').write_text(text)
    (tmp_path / 'V' / 'ImageSets' / 'train.txt').write_text('\n'.join(objects) + '\n')
    return tmp_path


def test_mmdet_reads_the_same_from_both(voc):
    init_default_scope('mmdet')
    voc_to_coco(voc, 'V/ImageSets/train.txt', ('cell', 'dot'), voc / 'out' / 'train.json', prefix='V')
    meta = dict(metainfo=dict(classes=('cell', 'dot')), data_root=str(voc), pipeline=[])
    prefix = dict(sub_data_root='V')
    xml = VOCDataset(ann_file='V/ImageSets/train.txt', data_prefix=prefix, **meta)
    coco = CocoDataset(ann_file='out/train.json', data_prefix=dict(img=''), **meta)
    for ours, theirs in zip(coco, xml, strict=True):
        assert os.path.samefile(ours['img_path'], theirs['img_path'])
        assert (ours['width'], ours['height']) == (40, 30)
        kept = [item for item in theirs['instances'] if not item['ignore_flag']]
        assert [(i['bbox'], i['bbox_label']) for i in ours['instances']] == [(i['bbox'], i['bbox_label']) for i in kept]


def test_closed_form(voc):
    coco = voc_to_coco(voc, 'V/ImageSets/train.txt', ('cell', 'dot'), voc / 'train.json', prefix='V')
    assert coco == json.loads((voc / 'train.json').read_text())
    assert [image['file_name'] for image in coco['images']] == [
        f'V/JPEGImages/{n}.jpg' for n in ('one', 'two', 'three')
    ]
    assert [box['bbox'] for box in coco['annotations']] == [[2, 3, 10, 20], [0, 0, 4, 5], [1, 1, 7, 7]]
    assert [box['ignore'] for box in coco['annotations']] == [0, 0, 1]
    assert [box['area'] for box in coco['annotations']] == [200, 20, 49]


def test_a_missing_xml_file_is_named(voc):
    (voc / 'V' / 'Annotations' / 'two.xml').unlink()
    with pytest.raises(ValueError, match=r'two'):
        voc_to_coco(voc, 'V/ImageSets/train.txt', ('cell', 'dot'), voc / 'train.json', prefix='V')
    assert not (voc / 'train.json').exists()


def test_command(voc, monkeypatch, capsys):
    arguments = ['voc2coco', str(voc), 'V/ImageSets/train.txt', '--prefix', 'V', '--classes', 'cell', 'dot']
    monkeypatch.setattr(sys, 'argv', [*arguments, '-o', str(voc / 'o.json')])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert '3 images, 3 boxes' in capsys.readouterr().out
