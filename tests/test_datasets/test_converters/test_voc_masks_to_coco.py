"""VOC's segmentation pictures as COCO masks: the border belongs to nobody, or to the nearest object."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.models.losses import CrossEntropyLoss
from mmengine.registry import init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask

from mmdet_ext.datasets.converters.voc_masks_to_coco import give_border, mask_fields, object_classes, voc_masks_to_coco

TOOL = Path(__file__).parents[3] / 'tools' / 'dataset_tools' / 'voc_masks2coco.py'
CLASSES = ('cell', 'dot')
SETS = 'V/ImageSets/Segmentation/train.txt'


def drawing():
    """Two objects of 12 x 10 pixels: 1 at the left, 2 at the right, a seam of 255 around the first, a far 255."""
    objects = np.zeros((10, 12), np.uint8)
    objects[1:6, 1:6] = 255
    objects[2:5, 2:5] = 1
    objects[2:6, 8:11] = 2
    objects[9, 6] = 255
    labels = np.select([objects == 1, objects == 2, objects == 255], [2, 1, 255]).astype(np.uint8)
    return objects, labels


def save(path, pixels):
    picture = Image.fromarray(pixels, mode='P')
    picture.putpalette([(37 * i) % 256 for i in range(768)])
    picture.save(path)


@pytest.fixture
def voc(tmp_path):
    for folder in ('JPEGImages', 'SegmentationObject', 'SegmentationClass', 'ImageSets/Segmentation'):
        (tmp_path / 'V' / folder).mkdir(parents=True)
    objects, labels = drawing()
    for name, kept in (('one', 1), ('none', 0)):
        Image.new('RGB', (12, 10)).save(tmp_path / 'V/JPEGImages' / f'{name}.jpg')
        save(tmp_path / 'V/SegmentationObject' / f'{name}.png', objects * np.uint8(kept))
        save(tmp_path / 'V/SegmentationClass' / f'{name}.png', labels * np.uint8(kept))
    (tmp_path / SETS).write_text('one\nnone\n')
    return tmp_path


def convert(voc, **options):
    return voc_masks_to_coco(voc, SETS, voc / 'new/train.json', prefix='V', **{'classes': CLASSES, **options})


def masks(coco):
    return [coco_mask.decode(annotation['segmentation']).astype(bool) for annotation in coco['annotations']]


def test_the_border_belongs_to_nobody(voc):
    coco = convert(voc)
    assert coco == json.loads((voc / 'new/train.json').read_text())
    objects, _ = drawing()
    assert [image['file_name'] for image in coco['images']] == ['one.jpg', 'none.jpg']
    assert coco['categories'] == [{'id': 1, 'name': 'cell'}, {'id': 2, 'name': 'dot'}]
    for annotation, mask, key in zip(coco['annotations'], masks(coco), (1, 2), strict=True):
        np.testing.assert_array_equal(mask, objects == key)
        assert annotation['id'] == key
    assert [(a['category_id'], a['bbox'], a['area']) for a in coco['annotations']] == [
        (2, [2, 2, 3, 3], 9),
        (1, [8, 2, 3, 4], 12),
    ]


def test_the_border_belongs_to_the_nearest_object_within_reach(voc):
    coco = convert(voc, border='object', reach=2)
    assert [(a['bbox'], a['area']) for a in coco['annotations']] == [([1, 1, 5, 5], 25), ([8, 2, 3, 4], 12)]
    # Corners of the seam are the square root of 2 away.
    assert [a['area'] for a in convert(voc, border='object', reach=1)['annotations']] == [21, 12]
    # The far pixel: 4 from the second object.
    assert convert(voc, border='object', reach=9)['annotations'][1]['area'] == 13


def test_give_border_is_nearest_of_all():
    objects = np.array([[1, 255, 255, 255, 2]])
    assert give_border(objects, 5)[0, [0, 1, 3, 4]].tolist() == [1, 1, 2, 2]
    assert give_border(objects, 5)[0, 2] in (1, 2)
    np.testing.assert_array_equal(give_border(objects, 0), objects)
    nothing = np.array([[0, 255]])
    np.testing.assert_array_equal(give_border(nothing, 5), nothing)


def test_mask_fields_of_one_pixel():
    mask = np.zeros((3, 4), bool)
    mask[1, 2] = True
    fields = mask_fields(mask)
    assert (fields['bbox'], fields['area'], fields['iscrowd']) == ([2, 1, 1, 1], 1, 0)


def test_mmdet_reads_masks_and_ignores_the_border_in_the_class_map(voc):
    init_default_scope('mmdet')
    convert(voc)
    dataset = CocoDataset(
        ann_file=str(voc / 'new/train.json'),
        data_prefix=dict(img=str(voc / 'V/JPEGImages'), seg=str(voc / 'V/SegmentationClass')),
        metainfo=dict(classes=CLASSES),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True, with_seg=True, imdecode_backend='pillow'),
        ],
    )
    sample, (objects, labels) = dataset[0], drawing()
    assert sample['gt_bboxes_labels'].tolist() == [1, 0]
    np.testing.assert_array_equal(sample['gt_masks'].to_ndarray().astype(bool), [objects == 1, objects == 2])
    np.testing.assert_array_equal(sample['gt_seg_map'], labels)
    # Neither object nor background: no gradient there.
    logits = torch.zeros(1, 3, 10, 12, requires_grad=True)
    CrossEntropyLoss(ignore_index=255)(logits, torch.from_numpy(sample['gt_seg_map'])[None].long()).backward()
    np.testing.assert_array_equal((logits.grad != 0).any(1)[0], labels != 255)


def test_an_object_of_two_classes_gets_the_more_frequent_one(voc):
    objects, labels = drawing()
    assert object_classes(objects, labels, 2, 'one') == {1: (2, True), 2: (1, True)}
    labels[2, 2:4] = 1
    assert object_classes(objects, labels, 2, 'one') == {1: (2, False), 2: (1, True)}
    save(voc / 'V/SegmentationClass/one.png', labels)
    assert convert(voc)['annotations'][0]['category_id'] == 2


def test_faults_end_in_a_sentence(voc):
    _, labels = drawing()
    with pytest.raises(ValueError, match=r"border='mine', allowed are 'nobody' and 'object'"):
        convert(voc, border='mine')
    with pytest.raises(ValueError, match=r'SegmentationClass/one\.png has the values 2, but there are 1 classes'):
        convert(voc, classes=('cell',))
    save(voc / 'V/SegmentationClass/one.png', np.where(labels == 1, 0, labels).astype(np.uint8))
    with pytest.raises(ValueError, match=r'object 2 of SegmentationObject/one\.png has no class'):
        convert(voc)
    save(voc / 'V/SegmentationClass/one.png', labels[:9])
    with pytest.raises(ValueError, match=r'one\.png has \(12, 10\) pixels in SegmentationObject, \(12, 9\)'):
        convert(voc)
    save(voc / 'V/SegmentationClass/one.png', labels)
    Image.new('RGB', (10, 12)).save(voc / 'V/JPEGImages/one.jpg')
    with pytest.raises(ValueError, match=r'one\.jpg'):
        convert(voc)
    (voc / 'V/SegmentationObject/one.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'one\.png cannot be read'):
        convert(voc)
    (voc / 'V/SegmentationObject/one.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'SegmentationObject/one\.png does not exist'):
        convert(voc)
    (voc / SETS).write_text('\n')
    with pytest.raises(ValueError, match=r'train\.txt is empty'):
        convert(voc)
    (voc / SETS).unlink()
    with pytest.raises(FileNotFoundError):
        convert(voc)
    assert not (voc / 'new').exists()


def test_command(voc, monkeypatch, capsys):
    words = ['voc_masks2coco', str(voc), SETS, '--prefix', 'V', '--border', 'object', '--reach', '1']
    monkeypatch.setattr(sys, 'argv', [*words, '-o', str(voc / 'o.json')])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert '2 images, 2 masks' in capsys.readouterr().out
    coco = json.loads((voc / 'o.json').read_text())
    assert len(coco['categories']) == 20
    assert [a['area'] for a in coco['annotations']] == [21, 12]
