"""Label files as COCO json: the same data set for CocoLandmarkDataset."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope
from test_datasets.wider_sample import write_wider

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.converters.wider_to_coco import wider_to_coco

TOOL = Path(__file__).parents[3] / 'tools' / 'dataset_tools' / 'wider2coco.py'


@pytest.fixture
def root(tmp_path):
    return write_wider(tmp_path, official='train.txt', landmarks='label.txt')


@pytest.mark.parametrize('labels', ['label.txt', 'train.txt'])
def test_the_same_data_set_from_both(root, labels):
    init_default_scope('mmdet')
    coco = wider_to_coco(root / labels, root / 'WIDER_train/images', root / 'out/train.json')
    assert coco == json.loads((root / 'out/train.json').read_text())
    node = dict(data_root=str(root), data_prefix=dict(img='WIDER_train/images'), pipeline=[])
    ours = DATASETS.build(dict(type='WiderFaceLandmarkDataset', ann_file=labels, **node))
    meta = dict(metainfo=dict(classes=('face',)))
    theirs = DATASETS.build(dict(type='CocoLandmarkDataset', ann_file='out/train.json', **meta, **node))
    for our, their in zip(ours, theirs, strict=True):
        assert Path(our['img_path']).samefile(their['img_path'])
        assert (our['width'], our['height']) == (their['width'], their['height'])
        kept = [face for face in our['instances'] if face['bbox'][1] < face['bbox'][3]]
        assert kept == their['instances']
    assert len(coco['annotations']) == 5


def test_closed_form(root):
    coco = wider_to_coco(root / 'label.txt', root / 'WIDER_train/images', root / 'train.json')
    (category,) = coco['categories']
    assert category['name'] == 'face'
    assert category['keypoints'] == ['left eye', 'right eye', 'nose', 'left mouth corner', 'right mouth corner']
    first = coco['annotations'][0]
    assert first['bbox'] == [10, 12, 40, 50]
    assert first['area'] == 2000
    assert first['keypoints'][:6] == [22, 29.5, 2, 38, 29.5, 2]
    assert first['num_keypoints'] == 5
    assert 'keypoints' not in coco['annotations'][2]
    assert [image['file_name'] for image in coco['images']][2] == '1--March/1_March_7.jpg'
    assert check_coco(root / 'train.json', ('face',), root / 'WIDER_train/images', 'all') == []
    official = wider_to_coco(root / 'train.txt', root / 'WIDER_train/images', root / 'train.json')
    assert [face['iscrowd'] for face in official['annotations']] == [0, 0, 0, 0, 1]


def test_faults_are_told_and_nothing_is_written(root):
    with pytest.raises(ValueError, match=r'label\.txt, line 1: the image .* does not exist'):
        wider_to_coco(root / 'label.txt', root / 'elsewhere', root / 'train.json')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        wider_to_coco(root / 'labels.txt', root / 'WIDER_train/images', root / 'train.json')
    assert not (root / 'train.json').exists()


def test_command(root, monkeypatch, capsys):
    arguments = [str(root / 'train.txt'), str(root / 'WIDER_train/images'), '-o', str(root / 'o.json')]
    monkeypatch.setattr(sys, 'argv', ['wider2coco', *arguments])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert 'o.json: 3 images, 5 faces (0 with landmarks, 1 ignored)' in capsys.readouterr().out
