import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import METRICS
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdet_ext.datasets.face_phantom import CLASSES, VERSION, make_face_phantom, phantom_hash
from mmdet_ext.datasets.transforms.landmark_geometry import FACE_LANDMARKS

DATASETS = Path(__file__).parents[2] / 'configs/_base_/datasets'
# Looks and rules are frozen with VERSION: whoever has to change this hash has to raise the version too.
GOLDEN = ('1', '5330ed9391ecce2a65876e0cbe3be38197bf8e6d72ed628b8a256d64f4fedb5f')


@pytest.fixture(scope='module')
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp('data') / 'phantom'
    return out, make_face_phantom(out, train=16, val=6, size=64, progress=False)


def load(out, name):
    return json.loads((out / 'annotations' / f'{name}.json').read_text())


def test_golden_hash(tmp_path):
    info = make_face_phantom(tmp_path / 'golden', train=4, val=2, size=64, progress=False, preview=False)
    assert (VERSION, info['hash']) == GOLDEN


def test_layout_and_info(phantom):
    out, info = phantom
    assert (info['name'], info['version'], info['seed'], info['size']) == ('face phantom', VERSION, 0, 64)
    assert info['hash'] == phantom_hash(out)
    assert sorted(path.name for path in out.iterdir()) == ['annotations', 'images', 'phantom.json', 'preview.png']
    assert cv2.imread(str(out / 'preview.png')).shape == (3 * 480, 4 * 480, 3)
    for split, count in (('train', 16), ('val', 6)):
        coco, others = load(out, split), load(out, f'distractors_{split}')
        assert coco['info']['hash'] == info['hash']
        assert [category['name'] for category in coco['categories']] == list(CLASSES)
        assert coco['categories'][0]['keypoints'] == list(FACE_LANDMARKS)
        assert info['classes'][split] == {'face': len(coco['annotations'])}
        names = [f'{k + 1:06d}.png' for k in range(count)]
        assert [image['file_name'] for image in coco['images']] == names == list(others)
        assert cv2.imread(str(out / 'images' / split / names[0]), cv2.IMREAD_UNCHANGED).shape == (64, 64, 3)
    found = [thing for things in load(out, 'distractors_train').values() for thing in things]
    assert {thing['look'] for thing in found} <= {'scrambled', 'blank', 'back', 'ball', 'plate'}
    assert all(len(thing['bbox']) == 4 and min(thing['bbox']) >= 0 for thing in found)
    assert len(found) > 10


def test_annotations(phantom):
    coco = load(phantom[0], 'train')
    assert [a['id'] for a in coco['annotations']] == list(range(1, len(coco['annotations']) + 1))
    assert len(coco['annotations']) > 40
    labelled = 0
    for annotation in coco['annotations']:
        x, y, w, h = annotation['bbox']
        assert 0 <= x < x + w <= 64.001
        assert 0 <= y < y + h <= 64.001
        assert annotation['area'] == pytest.approx(w * h, abs=0.01)
        assert (annotation['category_id'], annotation['iscrowd']) == (1, 0)
        points = np.reshape(annotation['keypoints'], (5, 3))
        seen = points[:, 2] > 0
        assert annotation['num_keypoints'] == seen.sum()
        assert (points[~seen] == 0).all()
        assert ((points[seen, :2] >= [x - 0.02, y - 0.02]) & (points[seen, :2] <= [x + w + 0.02, y + h + 0.02])).all()
        assert 0 <= annotation['hidden'] <= 0.55
        labelled += seen.any()
    assert 10 < labelled < len(coco['annotations'])


def test_the_same_parameters_give_the_same_bytes(phantom, tmp_path):
    out, info = phantom
    make_face_phantom(tmp_path / 'again', train=16, val=6, size=64, progress=False)
    for file in (path.relative_to(out) for path in out.rglob('*') if path.is_file()):
        assert (out / file).read_bytes() == (tmp_path / 'again' / file).read_bytes(), file
    other = make_face_phantom(tmp_path / 'other', train=1, val=0, size=64, seed=1, progress=False, preview=False)
    assert other['hash'] != info['hash']


def test_size_scales_the_annotations(phantom, tmp_path):
    make_face_phantom(tmp_path / 'large', train=4, val=0, size=128, progress=False, preview=False)
    large, small = load(tmp_path / 'large', 'train')['annotations'], load(phantom[0], 'train')['annotations']
    assert large
    for a, b in zip(large, small, strict=False):
        np.testing.assert_allclose(a['bbox'], 2 * np.array(b['bbox']), atol=0.05)
        points = np.reshape(b['keypoints'], (5, 3)) * (2, 2, 1)
        np.testing.assert_allclose(np.reshape(a['keypoints'], (5, 3)), points, atol=0.02)


def test_reused_and_damaged(phantom):
    out, info = phantom
    assert make_face_phantom(out, train=16, val=6, size=64) == info | {'reused': True}
    with pytest.raises(ValueError, match='size 64 instead of 256'):
        make_face_phantom(out, train=16, val=6)
    with pytest.raises(ValueError, match='size must be a whole number from 64 to 4096, got 32'):
        make_face_phantom(out, size=32)


@pytest.mark.parametrize('name', ['face_phantom', 'face_phantom_landmarks'])
def test_config(phantom, monkeypatch, name):
    """Batches have landmarks in step with boxes, and faces found as annotated reach the best values."""
    init_default_scope('mmdet')
    monkeypatch.setenv('MMDET_EXT_FACE_PHANTOM', str(phantom[0]))
    cfg = Config.fromfile(DATASETS / f'{name}.py')
    batches = list(Runner.build_dataloader(cfg.train_dataloader))
    assert sum(len(batch['data_samples']) for batch in batches) == 16
    for sample in (sample for batch in batches for sample in batch['data_samples']):
        faces = sample.gt_instances
        assert faces.keypoints.shape == (len(faces.bboxes), 5, 3)
        assert tuple(sample.img_shape) == (256, 256)
        seen = faces.keypoints[..., 2] > 0
        boxes, points = get_box_tensor(faces.bboxes)[:, None], faces.keypoints[..., :2]
        assert ((points >= boxes[..., :2] - 0.1) & (points <= boxes[..., 2:] + 0.1))[seen].all()
    perfect = []
    for batch in Runner.build_dataloader(cfg.val_dataloader):
        for sample in batch['data_samples']:
            faces = sample.gt_instances
            boxes = get_box_tensor(faces.bboxes)
            found = {'bboxes': boxes, 'labels': faces.labels, 'scores': torch.ones(len(boxes)),
                     'keypoints': faces.keypoints[..., :2]}  # fmt: skip
            perfect.append({**sample.metainfo, 'pred_instances': found})
    scores = {}
    for metric in (METRICS.build(dict(one)) for one in cfg.val_evaluator):
        metric.dataset_meta = dict(classes=CLASSES)
        metric.process({}, perfect)
        scores |= metric.evaluate(size=len(perfect))
    assert scores['coco/bbox_mAP'] == pytest.approx(1)
    assert scores['wider_face/hard_AP'] == pytest.approx(1)
    assert ('landmark/nme' in scores) == (name == 'face_phantom_landmarks')
    if 'landmark/nme' in scores:
        assert scores['landmark/found'] == 1
        assert scores['landmark/nme'] < 1e-3
