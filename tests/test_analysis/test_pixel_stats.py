"""Pixel statistics against numpy on all pixels at once."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmdet_ext.analysis.pixel_stats import PixelStats, measure_pixels
from mmdet_ext.analysis.train_set import open_train_sets
from tests.tiny_coco import make_tiny_coco, tiny_config

RNG = np.random.default_rng(0)


@pytest.fixture
def tiny(tmp_path):
    """Text of the tiny config with images of two sizes, and its paths."""
    paths = make_tiny_coco(tmp_path / 'data', n=6)
    cv2.imwrite(f'{paths["images"]}/0.png', RNG.integers(0, 256, (30, 90, 3), dtype=np.uint8))
    return tiny_config(paths), paths


def sets(text):
    return open_train_sets(Config.fromstring(text, '.py'))


def all_pixels(paths):
    files = sorted(Path(paths['images']).glob('*.png'))
    return np.concatenate([cv2.imread(str(file)).reshape(-1, 3) for file in files]).astype(np.float64)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5),
    st.sampled_from([np.uint8, np.uint16, np.float32, np.float64]),
    st.sampled_from([None, 1, 3, 5]),
    st.integers(0, 99),
)
def test_merged_images_are_all_pixels_at_once(shapes, kind, channels, seed):
    rng = np.random.default_rng(seed)
    # A large offset is where sums of squares lose their digits.
    images = [rng.integers(60000, 60256, (*shape, channels or 1)).astype(kind) for shape in shapes]
    images = [image if channels else image[..., 0] for image in images]
    total = PixelStats.of(images[0])
    for image in images[1:]:
        total = total.merge(PixelStats.of(image))
    pixels = np.concatenate([image.reshape(-1, channels or 1) for image in images]).astype(np.float64)
    np.testing.assert_allclose(total.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(total.std, pixels.std(0), rtol=1e-9, atol=1e-5)
    assert (total.images, total.pixels, total.high) == (len(images), len(pixels), pixels.max())


@pytest.mark.parametrize('workers', [0, 2])
def test_a_data_set_is_all_its_pixels(tiny, workers):
    text, paths = tiny
    found = measure_pixels(sets(text), workers=workers)
    pixels = all_pixels(paths)
    # Neither crop nor resize nor padding has a part in it.
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-9)
    assert (found.images, found.pixels) == (6, len(pixels))


def test_several_sets_and_some_images(tiny):
    text, _ = tiny
    whole = measure_pixels(sets(text))
    twice = text + "inner = train_dataloader['dataset']\n"
    twice += "train_dataloader['dataset'] = dict(type='ConcatDataset', datasets=[inner, inner])\n"
    found = measure_pixels(sets(twice))
    np.testing.assert_allclose(found.std, whole.std)
    assert found.images == 12
    some = [measure_pixels(sets(text), num=2, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert {stats.images for stats in some} == {2}
    assert (some[0].mean == some[1].mean).all()
    assert len({float(stats.mean[0]) for stats in some}) > 1
    assert measure_pixels(sets(text), num=99).images == 6


def test_images_as_the_pipeline_loads_them(tiny):
    text, paths = tiny
    grey = text.replace("dict(type='LoadImageFromFile')", "dict(type='LoadImageFromFile', color_type='grayscale')", 1)
    found = measure_pixels(sets(grey))
    files = sorted(Path(paths['images']).glob('*.png'))
    pixels = np.concatenate([cv2.imread(str(file), cv2.IMREAD_GRAYSCALE).ravel() for file in files])
    np.testing.assert_allclose(found.mean, [pixels.mean()])


def test_faulty_images(tiny):
    text, paths = tiny
    image = Path(paths['images']) / '2.png'
    image.write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'2.png cannot be read \('):
        measure_pixels(sets(text))
    image.unlink()
    with pytest.raises(ValueError, match=r'there is no image .*2.png; check the folder'):
        measure_pixels(sets(text), workers=1)


def test_faults(tiny):
    text, paths = tiny
    for options, sentence in (({'num': 0}, '--num 0: the number'), ({'workers': -1}, 'workers must be at least 0')):
        with pytest.raises(ValueError, match=sentence):
            measure_pixels(sets(text), **options)
    with pytest.raises(ValueError, match=r'train_dataloader.dataset: its pipeline loads no image'):
        measure_pixels(sets(text.replace("dict(type='LoadImageFromFile')", "dict(type='LoadEmptyAnnotations')", 1)))
    content = json.loads(Path(paths['ann']).read_text())
    Path(paths['ann']).write_text(json.dumps({**content, 'images': [], 'annotations': []}))
    with pytest.raises(ValueError, match=r'train_dataloader.dataset: the training set has no images'):
        measure_pixels(sets(text))
    with pytest.raises(ValueError, match=r'images have 3 and 1 channels'):
        PixelStats.of(np.ones((2, 2, 3))).merge(PixelStats.of(np.ones((2, 2))))
    with pytest.raises(ValueError, match='pixels that are not finite'):
        PixelStats.of(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match=r'at least one pixel, got \(0, 3, 3\)'):
        PixelStats.of(np.ones((0, 3, 3)))
