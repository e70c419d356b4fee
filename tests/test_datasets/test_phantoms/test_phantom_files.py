"""What all phantoms share; how a data set is reused or replaced is tested with the chest phantom."""

import json

import numpy as np
import pytest

from mmdet_ext.datasets.phantoms.phantom_files import (
    Phantom,
    Picture,
    content_hash,
    describe_phantom,
    make_phantom,
    xywh,
)


def _draw(key, size):
    """A grey picture of its number, with as many objects."""
    pixels = np.full((size, size, 3), key[2], np.uint8)
    things = [{'category_id': 4, 'bbox': [k, 0, 1, 1]} for k in range(key[2])]
    return Picture(pixels, things, {'notes': {'key': list(key)}})


def _preview(images, objects):
    return np.hstack([image + 10 * len(found) for image, found in zip(images, objects, strict=True)])


TOY = Phantom('toy', '3', [{'id': 2, 'name': 'none'}, {'id': 4, 'name': 'thing'}], _draw, _preview, ('notes',))


def test_writes_images_annotations_side_files_and_preview(tmp_path):
    import cv2

    info = make_phantom(TOY, tmp_path / 'toy', train=3, val=2, size=64, seed=5, progress=False)
    assert {key: info[key] for key in ('name', 'version', 'seed', 'size', 'counts', 'classes', 'reused')} == {
        'name': 'toy', 'version': '3', 'seed': 5, 'size': 64, 'counts': {'train': 3, 'val': 2}, 'reused': False,
        'classes': {'train': {'none': 0, 'thing': 3}, 'val': {'none': 0, 'thing': 1}},
    }  # fmt: skip
    train = json.loads((tmp_path / 'toy/annotations/train.json').read_text())
    assert [(a['id'], a['image_id']) for a in train['annotations']] == [(1, 2), (2, 3), (3, 3)]
    assert train['categories'] == TOY.categories
    assert train['info']['hash'] == info['hash']
    notes = json.loads((tmp_path / 'toy/annotations/notes_val.json').read_text())
    assert notes == {'000001.png': {'key': [5, 1, 0]}, '000002.png': {'key': [5, 1, 1]}}
    assert cv2.imread(str(tmp_path / 'toy/images/train/000003.png'))[0, 0].tolist() == [2, 2, 2]
    sheet = cv2.imread(str(tmp_path / 'toy/preview.png'))
    assert sheet[0, ::64, 0].tolist() == [0, 11, 22]


def test_side_files_are_part_of_the_content(tmp_path):
    info = make_phantom(TOY, tmp_path / 'toy', train=1, val=0, size=64, preview=False, progress=False)
    assert content_hash(tmp_path / 'toy', ('notes',)) == info['hash'] != content_hash(tmp_path / 'toy')
    (tmp_path / 'toy/annotations/notes_train.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'notes_train\.json is missing; make the phantom again'):
        content_hash(tmp_path / 'toy', ('notes',))
    with pytest.raises(ValueError, match='damaged'):
        make_phantom(TOY, tmp_path / 'toy', train=1, val=0, size=64)


def test_one_phantom_does_not_replace_another(tmp_path):
    make_phantom(TOY, tmp_path / 'toy', train=1, val=0, size=64, preview=False, progress=False)
    other = Phantom('other', '3', TOY.categories, _draw, _preview, ('notes',))
    with pytest.raises(ValueError, match='exists and is not a other'):
        make_phantom(other, tmp_path / 'toy', train=1, val=0, size=64, overwrite=True)
    newer = Phantom('toy', '4', TOY.categories, _draw, _preview, ('notes',))
    with pytest.raises(ValueError, match="version '3' instead of '4'"):
        make_phantom(newer, tmp_path / 'toy', train=1, val=0, size=64)


@pytest.mark.parametrize('options', [{'size': 63}, {'train': -1}, {'val': 1.5}, {'seed': -1}])
def test_bad_numbers(tmp_path, options):
    with pytest.raises(ValueError, match=f'{next(iter(options))} must be a whole number'):
        make_phantom(TOY, tmp_path / 'toy', **({'train': 1, 'val': 1, 'size': 64} | options))


def test_description():
    info = {'name': 'toy', 'version': '3', 'counts': {'val': 2}, 'classes': {'val': {'thing': 1}}, 'hash': 'abc'}
    text = describe_phantom(info | {'reused': False}, 'here')
    assert text == "toy 3 written: here\n  val: 2 images, {'thing': 1}\n  hash: abc"
    assert 'toy 3 is there already, nothing to do: here' in describe_phantom(info | {'reused': True}, 'here')


def test_xywh():
    assert xywh(np.array([0.123, 1.0, 10.126, 3.5])) == [0.12, 1.0, 10.01, 2.5]
