"""Images of a split: nothing random, nothing filtered, ground truth that scales, whatever the data set."""

import copy
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from mmdet_ext.analysis.diagnosis.split_data import open_split
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from tests.test_analysis.test_diagnosis import detector_case as case
from tests.test_models.small_detector import CONFIGS

LOAD = dict(type='LoadAnnotations', with_bbox=True, with_mask=True)


def config(root=None, load=LOAD, pack='PackDetInputs', kind='CocoDataset', **changes):
    return Config({**copy.deepcopy(case.data_config(root or case.folder(), load, pack, kind)), **changes})


def boxes(index):
    return np.array([[x, y, x + w, y + h] for _, (x, y, w, h) in case.BOXES[index]], np.float32).reshape(-1, 4)


@pytest.mark.parametrize('split', ['train', 'val'])
def test_every_image_with_its_ground_truth_in_both_pixels(split):
    data = open_split(config(), split)
    # `RepeatDataset` and the filter of empty and small images change nothing.
    assert len(data) == 4
    assert data.classes == case.CLASSES
    assert data.ann_files == [str(case.folder() / 'ann.json')]
    for index in range(4):
        image = data.load(index)
        sample = image.data['data_samples']
        assert sample.img_id == data.get_data_info(index)['img_id'] == 100 + index
        assert image.ori_shape == (60, 80)
        assert image.data['inputs'].shape == (3, 96, 128)
        np.testing.assert_array_equal(image.truth.boxes, boxes(index))
        assert image.truth.labels.tolist() == [label - 1 for label, _ in case.BOXES[index]]
        assert image.truth.scores.tolist() == [1] * len(image.truth)
        np.testing.assert_allclose(sample.gt_instances.bboxes.tensor, boxes(index) * case.SCALE, rtol=1e-5)
        assert sample.gt_instances.masks.masks.shape == (len(image.truth), 96, 128)
    image = data.load(1)
    np.testing.assert_array_equal(image.ignored, [[2, 40, 32, 58]])
    np.testing.assert_allclose(image.data['data_samples'].ignored_instances.bboxes.tensor, image.ignored * case.SCALE)


def test_digests_are_of_pixels(tmp_path):
    train, val = (open_split(config(), split) for split in ('train', 'val'))
    digests = [train.load(index).digest for index in range(4)]
    assert len(set(digests)) == 4
    assert digests == [val.load(index).digest for index in range(4)]
    picture = cv2.imread(str(case.folder() / '0.png'))
    for name in ('0.png', '1.png'):
        cv2.imwrite(str(tmp_path / name), picture)
    for name in ('2.png', '3.png'):
        cv2.imwrite(str(tmp_path / name), picture.reshape(80, 60, 3))
    (tmp_path / 'ann.json').write_text((case.folder() / 'ann.json').read_text())
    copied = open_split(config(tmp_path), 'val')
    assert copied.load(0).digest == copied.load(1).digest == digests[0] != copied.load(2).digest


def test_inputs_of_other_sizes():
    data = open_split(config(), 'train')
    for factor in (0.5, 2.0, 0.5):
        image = data.load(0, factor)
        assert image.data['inputs'].shape == (3, 96 * factor, 128 * factor)
        scaled = image.data['data_samples'].gt_instances.bboxes.tensor
        np.testing.assert_allclose(scaled, boxes(0) * case.SCALE * factor, rtol=1e-5)
        np.testing.assert_array_equal(image.truth.boxes, boxes(0))


def test_landmarks_scale_with_the_image():
    load = dict(type='LoadLandmarkAnnotations', num_landmarks=5)
    cfg = config(load=load, pack='PackLandmarkInputs', kind='CocoLandmarkDataset')
    for split in ('train', 'val'):
        points = open_split(cfg, split).load(2).data['data_samples'].gt_instances.keypoints
        x, y, w, h = case.BOXES[2][0][1]
        np.testing.assert_allclose(points[0, 2], [(x + w / 2) * 1.6, (y + h / 2) * 1.6, 2], rtol=1e-5)


def test_parts_of_each_split(tmp_path, monkeypatch):
    make_chest_phantom(tmp_path, train=1, val=1, size=64, seed=1)
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(tmp_path))
    cfg = Config.fromfile(CONFIGS / '_base_/datasets/chest_phantom_parts.py')
    for split in ('train', 'val'):
        sample = open_split(cfg, split).load(0).data['data_samples']
        table = json.loads((tmp_path / f'annotations/parts_{split}.json').read_text())
        (parts,) = table.values()
        x, y, w, h = parts['heart']
        scale = sample.scale_factor[0]
        expected = torch.tensor([x, y, x + w, y + h]) * scale
        torch.testing.assert_close(sample.parts.bboxes[2], expected.float(), rtol=1e-4, atol=1e-3)


XML = (
    '<annotation><filename>{name}.jpg</filename><size><width>80</width><height>60</height><depth>3</depth></size>{objects}'
    '</annotation>'
)
OBJECT = (
    '<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>40</xmax>'
    '<ymax>50</ymax></bndbox></object>'
)


def voc(root):
    for folder in ('VOC2007/Annotations', 'VOC2007/JPEGImages'):
        (root / folder).mkdir(parents=True)
    for index, name in enumerate('pq'):
        cv2.imwrite(str(root / f'VOC2007/JPEGImages/{name}.jpg'), np.full((60, 80, 3), index, np.uint8))
        objects = OBJECT.format(name='a', hard=0, x=11, y=21) + OBJECT.format(name='b', hard=1, x=31, y=41)
        text = XML.format(name=name, objects=objects if index else '')
        (root / f'VOC2007/Annotations/{name}.xml').write_text(text)
    (root / 'list.txt').write_text('p\nq\n')
    return dict(
        type='XMLDataset', data_root=str(root), ann_file='list.txt', data_prefix=dict(sub_data_root='VOC2007/'),
        img_subdir='JPEGImages', ann_subdir='Annotations', metainfo=dict(classes=case.CLASSES),
        filter_cfg=dict(filter_empty_gt=True, min_size=900, bbox_min_size=12),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)],
    )  # fmt: skip


def test_sets_of_several_kinds_joined(tmp_path):
    cfg = config()
    inner = cfg.train_dataloader.dataset.dataset
    cfg.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[voc(tmp_path), dict(type='RepeatDataset', times=2, dataset=inner)]
    )
    data = open_split(cfg, 'train')
    assert len(data) == 6
    assert [Path(data.get_data_info(index)['img_path']).name for index in range(6)] == [
        'p.jpg', 'q.jpg', '0.png', '1.png', '2.png', '3.png',
    ]  # fmt: skip
    assert len(data.load(0).truth) == 0
    image = data.load(1)
    np.testing.assert_array_equal(image.truth.boxes, [[10, 20, 39, 49]])
    np.testing.assert_array_equal(image.ignored, [[30, 40, 39, 49]])
    np.testing.assert_allclose(
        image.data['data_samples'].gt_instances.bboxes.tensor, image.truth.boxes * 1.6, rtol=1e-5
    )
    np.testing.assert_array_equal(data.load(2).truth.boxes, boxes(0))
    # A VOC set's file only lists names: the annotations are elsewhere.
    before = data.hash_annotations()
    assert open_split(cfg, 'train').hash_annotations() == before
    file = tmp_path / 'VOC2007/Annotations/q.xml'
    file.write_text(file.read_text().replace('>11<', '>12<'))
    assert open_split(cfg, 'train').hash_annotations() != before
    assert data.ann_files == [str(tmp_path / 'list.txt'), str(case.folder() / 'ann.json')]


def test_a_part_of_a_set_stays_a_part():
    cfg = config()
    cfg.val_dataloader.dataset.indices = [2, 0]
    data = open_split(cfg, 'val')
    assert [data.get_data_info(index)['img_id'] for index in range(len(data))] == [102, 100]


@pytest.mark.parametrize('content', [b'', b'no image', None])
def test_a_damaged_image_is_named(tmp_path, content):
    for file in case.folder().glob('*.png'):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / 'ann.json').write_text((case.folder() / 'ann.json').read_text())
    broken = tmp_path / '1.png'
    broken.unlink() if content is None else broken.write_bytes(content)
    data = open_split(config(tmp_path), 'val')
    with pytest.raises(ValueError, match=rf'^{broken} cannot be used: \w+: '):
        data.load(1)
    assert len(data.load(2).truth) == 1


def test_what_cannot_be_opened(tmp_path):
    cfg = config()
    with pytest.raises(
        ValueError, match=r'has no test data that can be read: test_dataloader.dataset must be, or wrap'
    ):
        open_split(cfg, 'test')
    cfg.train_dataloader.dataset = dict(type='NoSuchDataset')
    with pytest.raises(ValueError, match='has no train data that can be read'):
        open_split(cfg, 'train')
    cfg = config(val_dataloader=None)
    with pytest.raises(ValueError, match='neither val_dataloader nor test_dataloader, whose pipeline resizes images'):
        open_split(cfg, 'train')
    cfg = config()
    cfg.val_dataloader.dataset.ann_file = 'none.json'
    with pytest.raises(
        FileNotFoundError, match=r'val_dataloader\.dataset: there is no annotation file .*none\.json; cor'
    ):
        open_split(cfg, 'val')
    cfg.val_dataloader.dataset.metainfo.source = ['Run make.', 'Then wait.']
    with pytest.raises(FileNotFoundError, match=r'none\.json; Run make\. Then wait\.'):
        open_split(cfg, 'val')
    content = json.loads((case.folder() / 'ann.json').read_text())
    (tmp_path / 'ann.json').write_text(json.dumps({**content, 'images': [], 'annotations': []}))
    with pytest.raises(ValueError, match=r'val_dataloader\.dataset: .*ann\.json has no image'):
        open_split(config(tmp_path), 'val')


def test_the_test_loader_serves_where_there_is_no_other():
    cfg = config()
    cfg.test_dataloader = cfg.pop('val_dataloader')
    assert open_split(cfg, 'train').load(0).data['inputs'].shape == (3, 96, 128)
    cfg.pop('train_dataloader')
    assert len(open_split(cfg, 'test')) == 4


def test_what_is_no_fault_of_an_image(monkeypatch):
    """Ctrl-C and a full memory end the look at an image, and a class list that mmdet refuses that at all of them."""
    (part,) = open_split(config(), 'val').sets
    for error in (KeyboardInterrupt, MemoryError):

        def fails(results, error=error):
            raise error

        monkeypatch.setattr(part.loads, 'transforms', [fails])
        with pytest.raises(error):
            part.load(0)
    monkeypatch.setattr(CocoDataset, 'full_init', lambda self: (_ for _ in ()).throw(ValueError('of mmdet')))
    with pytest.raises(ValueError, match='of mmdet'):
        open_split(config(), 'val')
