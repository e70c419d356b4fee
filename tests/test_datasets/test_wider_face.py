"""WiderFaceLandmarkDataset on drawn pictures: both label files, ignored faces, filters, a whole pipeline."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from PIL import Image
from test_datasets.wider_sample import EYES, IMAGES, write_wider

from mmdet_ext.datasets import WiderFaceLandmarkDataset
from mmdet_ext.datasets.wider_face import covers_image

PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLandmarkAnnotations'),
    dict(type='FaceRandomCrop', train_size=64, min_size=8),
    dict(type='LandmarkResize', scale=(64, 64), keep_ratio=True),
    dict(type='LandmarkRandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackLandmarkInputs'),
]


@pytest.fixture
def root(tmp_path):
    return write_wider(tmp_path, official='split/train.txt', landmarks='label.txt')


def build(root, ann_file='label.txt', pipeline=(), **more):
    init_default_scope('mmdet')
    node = dict(type='WiderFaceLandmarkDataset', data_root=str(root), ann_file=ann_file, pipeline=list(pipeline))
    return DATASETS.build({**node, 'data_prefix': dict(img='WIDER_train/images/'), **more})


@pytest.mark.parametrize('ann_file', ['label.txt', 'split/train.txt'])
def test_images_and_boxes(root, ann_file):
    dataset = build(root, ann_file)
    assert dataset.metainfo['classes'] == ('face',)
    assert len(dataset) == 3
    for info, (name, width, height, faces) in zip(dataset, IMAGES, strict=True):
        assert info['img_id'] == name[:-4]
        assert Path(info['img_path']).samefile(root / 'WIDER_train/images' / name)
        assert (info['width'], info['height']) == (width, height)
        boxes = [instance['bbox'] for instance in info['instances']]
        assert boxes == [[x, y, x + w, y + h] for x, y, w, h, _ in faces]
        assert {instance['bbox_label'] for instance in info['instances']} <= {0}
    assert dataset.get_cat_ids(0) == [0, 0, 0]


def test_landmarks(root):
    first, second, third = build(root)
    assert ['keypoints' in instance for instance in first['instances']] == [True, True, False]
    x, y, w, h, _ = IMAGES[0][3][0]
    points = np.reshape(first['instances'][0]['keypoints'], (5, 3))
    np.testing.assert_allclose(points[:, :2], EYES * [w, h] + [x, y], atol=1e-3)
    assert points[:, 2].tolist() == [2, 2, 2, 1, 2]
    assert second['instances'] == []
    assert ['keypoints' in instance for instance in third['instances']] == [True, True, False]
    assert not any('keypoints' in instance for info in build(root, 'split/train.txt') for instance in info['instances'])


def ignored(dataset):
    return [[instance['ignore_flag'] for instance in info['instances']] for info in dataset]


def test_ignored_faces(root):
    assert ignored(build(root)) == [[0, 0, 0], [], [0, 1, 0]]  # zero height
    assert ignored(build(root, 'split/train.txt')) == [[0, 0, 0], [], [0, 1, 1]]  # and invalid
    small = dict(filter_cfg=dict(bbox_min_size=25))
    assert ignored(build(root, **small)) == [[0, 1, 1], [], [0, 1, 1]]
    assert ignored(build(root, test_mode=True, **small)) == [[0, 0, 0], [], [0, 1, 0]]


@pytest.mark.parametrize(
    ('box', 'covers'),
    [
        ((0, 0, 1, 1), True), ((-5, -5, 0.5, 0.5), True), ((99, 49, 120, 60), True), ((5, 5, 5, 9), False),
        ((5, 9, 9, 9), False), ((-5, 0, 0, 9), False), ((100, 0, 110, 9), False), ((3, 50, 9, 60), False),
    ],
)  # fmt: skip
def test_covers_image(box, covers):
    assert covers_image(box, 100, 50) is covers


def test_filters(root):
    names = [name[:-4] for name, *_ in IMAGES]

    def ids(**filters):
        return [info['img_id'] for info in build(root, filter_cfg=filters)]

    assert ids() == names
    assert ids(filter_empty_gt=True) == [names[0], names[2]]
    assert ids(filter_empty_gt=True, bbox_min_size=45) == [names[2]]
    assert ids(min_size=95) == [names[2]]
    assert len(build(root, filter_cfg=dict(filter_empty_gt=True, min_size=500), test_mode=True)) == 3
    with pytest.raises(
        ValueError, match=r"knows 'filter_empty_gt', .*, not 'filter_empty' \(nearest: 'filter_empty_gt'"
    ):
        build(root, filter_cfg=dict(filter_empty=True))


def test_a_picture_on_its_side(root):
    path = root / 'WIDER_train/images' / IMAGES[0][0]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)
    info = build(root)[0]
    assert (info['height'], info['width']) == cv2.imread(str(path)).shape[:2] == (120, 90)


def test_pictures_that_are_not_there(root):
    path = root / 'WIDER_train/images' / IMAGES[1][0]
    path.write_text('no picture')
    with pytest.raises(ValueError, match=r'label\.txt, line 5: the image .*0_Parade_2\.jpg is no picture'):
        build(root)
    path.unlink()
    with pytest.raises(ValueError, match=r'split/train\.txt, line 6: the image .* does not exist; correct `data_pre'):
        build(root, 'split/train.txt')
    with pytest.raises(FileNotFoundError, match='does not exist; correct `ann_file`'):
        build(root, 'labels.txt')


def test_a_whole_pipeline(root):
    dataset = build(root, pipeline=PIPELINE)
    np.random.seed(0)  # noqa: NPY002
    samples = [dataset[index] for index in (0, 1, 2) * 3]
    batch = pseudo_collate(samples)
    assert {tuple(image.shape) for image in batch['inputs']} == {(3, 64, 64)}
    labelled = 0
    for sample in batch['data_samples']:
        faces, rest = sample.gt_instances, sample.ignored_instances
        assert len(faces.bboxes) == len(faces.keypoints) == len(faces.labels)
        assert len(rest.bboxes) == len(rest.keypoints)
        seen = faces.keypoints[..., 2] > 0
        labelled += int(seen.sum())
        points = faces.keypoints[..., :2]
        assert ((points >= 0) & (points <= 64)).all()
        boxes = faces.bboxes.tensor[:, None]
        inside = (points >= boxes[..., :2] - 1e-3) & (points <= boxes[..., 2:] + 1e-3)
        assert inside.all(-1)[seen].all()
        both = seen[:, 0] & seen[:, 1]
        assert (points[both, 0, 0] < points[both, 1, 0]).all()  # left is left, flipped or not
        assert torch.isfinite(faces.keypoints).all()
    assert labelled > 20
    assert len(samples[1]['data_samples'].gt_instances) == 0


def test_a_worker_can_have_it(root):
    dataset = pickle.loads(pickle.dumps(build(root, pipeline=PIPELINE)))
    assert isinstance(dataset, WiderFaceLandmarkDataset)
    assert dataset[0]['inputs'].shape == (3, 64, 64)
