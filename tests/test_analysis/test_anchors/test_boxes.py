"""Boxes of training sets in pixels of the resized images."""

import json
from pathlib import Path

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config

from mmdet_ext.analysis.anchors.boxes import BoxSet, read_boxes
from tests.tiny_coco import make_tiny_coco, tiny_config


@pytest.fixture
def tiny(tmp_path):
    """Text of the tiny config without a crop, and its paths."""
    paths = make_tiny_coco(tmp_path / 'data', n=6, size=64)
    # To serialise a data set of six images takes a second.
    text = tiny_config(paths).replace('metainfo=metainfo,', 'metainfo=metainfo, serialize_data=False,', 1)
    return text, paths


def change(paths, **fields):
    """Rewrite the first annotation, and give all boxes as (n, 4) xyxy."""
    content = json.loads(Path(paths['ann']).read_text())
    content['annotations'][0].update(fields)
    Path(paths['ann']).write_text(json.dumps(content))
    found = np.array([annotation['bbox'] for annotation in content['annotations']], np.float64)
    return np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)


def read(text, **options):
    return read_boxes(Config.fromstring(text, '.py'), **options)


@pytest.mark.parametrize(
    ('scale', 'keep', 'factors'),
    [((32, 128), False, (0.5, 2)), ((96, 192), True, (1.5, 1.5)), ((64, 64), True, (1, 1))],
)
def test_boxes_have_the_scale_of_the_pipeline(tiny, scale, keep, factors):
    text, paths = tiny
    found = read(text.replace('scale=(64, 64), keep_ratio=True', f'scale={scale}, keep_ratio={keep}'))
    np.testing.assert_allclose(found.boxes, change(paths) * np.tile(factors, 2), rtol=1e-6)
    np.testing.assert_allclose(found.sizes, np.tile(np.multiply(factors, 64), (6, 1)))
    np.testing.assert_allclose(found.shapes, found.boxes[:, 2:] - found.boxes[:, :2])
    assert (found.images, found.ignored, found.no_size) == (6, 0, 0)
    assert found.notes == ('Boxes as annotated and resized, without RandomCrop; --augmented runs the whole pipeline.',)


def test_crowds_and_boxes_without_a_size_are_left_out_and_counted(tiny):
    text, paths = tiny
    truth = change(paths, iscrowd=1)
    found = read(text)
    np.testing.assert_allclose(found.boxes, truth[1:])
    assert (found.images, found.ignored, found.no_size) == (6, 1, 0)
    change(paths, iscrowd=0, bbox=[5, 5, 0, 8], area=0)
    # Such an image has no object any more, but is read where training keeps it.
    found = read(text)
    assert (len(found), found.images, found.no_size) == (5, 6, 1)


def test_boxes_are_clipped_to_their_image(tiny):
    text, paths = tiny
    change(paths, bbox=[-10, 40, 30, 50], area=1500)
    np.testing.assert_allclose(read(text).boxes[0], [0, 40, 20, 64])


def test_without_a_resize(tiny):
    text, paths = tiny
    text = text.replace("    dict(type='Resize', scale=(64, 64), keep_ratio=True),\n", '', 1)
    found = read(text)
    assert 'No transform of the training pipeline resizes: boxes are in pixels of the image files.' in found.notes
    np.testing.assert_allclose(found.boxes, change(paths))
    np.testing.assert_allclose(found.sizes, 64)


def test_an_image_without_a_size(tiny, monkeypatch):
    parse = CocoDataset.parse_data_info

    def bare(self, raw):
        info = parse(self, raw)
        return {key: value for key, value in info.items() if key not in ('width', 'height')}

    monkeypatch.setattr(CocoDataset, 'parse_data_info', bare)
    with pytest.raises(
        ValueError, match=r'image .*0.png has no width and height in its annotations; --augmented reads'
    ):
        read(tiny[0])


def test_some_images_by_seed(tiny):
    text, _ = tiny
    assert len(read(text, num=3)) == 3
    np.testing.assert_array_equal(read(text, num=3, seed=5).boxes, read(text, num=3, seed=5).boxes)
    assert len({read(text, num=1, seed=seed).boxes.sum() for seed in range(8)}) > 1
    assert read(text, num=99).images == 6
    with pytest.raises(ValueError, match='--num 0: the number of images must be at least 1'):
        read(text, num=0)


def test_the_whole_pipeline(tiny):
    text, paths = tiny
    plain = text.replace("    dict(type='RandomCrop', crop_size=(0.7, 0.7), crop_type='relative', "
                         'allow_negative_crop=True),\n', '').replace("dict(type='RandomFlip', prob=0.5)",
                                                                      "dict(type='RandomFlip', prob=0.0)")  # fmt: skip
    found = read(plain.replace('shuffle=True', 'shuffle=False'), augmented=True)
    np.testing.assert_allclose(found.boxes, change(paths), atol=1e-4)
    assert found.notes == ('Boxes as the whole training pipeline packs them.',)
    # The crop is enlarged to the whole size, objects with it.
    cropped = read(text, augmented=True, num=5, seed=1)
    assert cropped.images == 5
    assert cropped.shapes.mean() > found.shapes.mean()
    np.testing.assert_array_equal(cropped.boxes, read(text, augmented=True, num=5, seed=1).boxes)
    endless = text.replace("type='DefaultSampler', shuffle=True", "type='InfiniteSampler', shuffle=True")
    assert read(endless, augmented=True, num=9).images == 9
    change(paths, iscrowd=1)
    assert read(plain, augmented=True).ignored == 1


def test_samples_of_several_images_are_refused(tiny):
    text = tiny[0].replace(
        "    dict(type='PackDetInputs'),\n]",
        "    dict(type='MultiBranch', branch_field=['a', 'b'], a=dict(type='PackDetInputs'), "
        "b=dict(type='PackDetInputs')),\n]",
        1,
    )
    with pytest.raises(ValueError, match='its pipeline packs several images as one sample; leave --augmented out'):
        read(text, augmented=True)


def test_no_box_at_all(tiny):
    text, paths = tiny
    content = json.loads(Path(paths['ann']).read_text())
    for annotation in content['annotations']:
        annotation['iscrowd'] = 1
    Path(paths['ann']).write_text(json.dumps(content))
    with pytest.raises(
        ValueError, match=r'none of the 6 training images has a box with a size \(left out: 6 to be ign'
    ):
        read(text)


def test_a_sample_of_boxes():
    boxes = BoxSet(np.arange(40.0).reshape(10, 4), np.ones((10, 2)), images=4, ignored=1, no_size=2)
    assert boxes.sample(10, 0) is boxes
    part = boxes.sample(4, 0)
    assert (len(part), part.images, part.ignored, part.no_size) == (4, 4, 1, 2)
    assert (np.diff(part.boxes[:, 0]) > 0).all()
