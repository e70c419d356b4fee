"""LoadParts: from the file, from the input, and what is said when parts are missing."""

import copy
import json
import pickle

import numpy as np
import pytest
from mmdet.registry import TRANSFORMS
from mmengine.registry import init_default_scope

from mmdet_ext.datasets.transforms import LoadParts

NAMES = ('left lung', 'heart')
ENTRY = {'heart': [4, 5, 6, 7], 'left lung': [10, 0, 10, 20]}


@pytest.fixture
def part_file(tmp_path):
    path = tmp_path / 'parts.json'
    path.write_text(json.dumps({'a.png': ENTRY, 'b.png': {'heart': [0, 0, 3, 3]}, 'd/c.png': ENTRY}))
    return path


def image(path='/x/a.png', size=(30, 20), **more):
    return {'img_path': path, 'ori_shape': size, **more}


def test_from_the_file(part_file):
    init_default_scope('mmdet')
    load = TRANSFORMS.build(dict(type='LoadParts', part_file=str(part_file), part_names=NAMES))
    results = load(image())
    assert results['part_boxes'].tolist() == [[10, 0, 20, 20], [4, 5, 10, 12]]
    assert results['part_boxes'].dtype == np.float32
    assert results['part_valid'].tolist() == [True, True]
    assert results['part_names'] == NAMES
    results = load(image('/x/b.png'))
    assert results['part_boxes'].tolist() == [[0, 0, 0, 0], [0, 0, 3, 3]]
    assert results['part_valid'].tolist() == [False, True]


def test_a_worker_can_have_it(part_file):
    load = pickle.loads(pickle.dumps(LoadParts(part_file, NAMES)))
    assert load(image())['part_valid'].all()


def test_the_file_is_not_changed_by_what_follows(part_file):
    load = LoadParts(part_file, NAMES)
    load(image())['part_boxes'][:] = -5
    assert load(image())['part_boxes'].tolist() == [[10, 0, 20, 20], [4, 5, 10, 12]]


@pytest.mark.parametrize('with_file', [True, False])
def test_from_the_input(part_file, with_file):
    load = LoadParts(part_file if with_file else None, NAMES)
    results = load(image(parts={'heart': [1, 2, 3, 4]}))
    assert results['part_boxes'].tolist() == [[0, 0, 0, 0], [1, 2, 4, 6]]
    assert results['part_valid'].tolist() == [False, True]
    assert not load(image(None, parts={}))['part_valid'].any()


@pytest.mark.parametrize(
    ('parts', 'words'),
    [
        ([1, 2, 3, 4], r'must be \{name: \[x, y, w, h\]\}, got \[1, 2, 3, 4\]'),
        ({'hart': [1, 2, 3, 4]}, r"names 'hart' \(nearest: 'heart'\), but part_names is"),
        ({'heart': [1, 2, 3]}, r"`parts` of the input: 1 of 1 boxes are not four finite numbers.*'input: heart'"),
        ({'heart': [1, 2, 3, 40]}, r'reach more than a pixel beyond their image'),
    ],
)
def test_bad_parts_of_the_input(parts, words):
    with pytest.raises(ValueError, match=words):
        LoadParts(None, NAMES)(image(parts=parts))


@pytest.mark.parametrize(
    ('path', 'words'),
    [
        ('/x/z.png', r'parts\.json has no entry for the image /x/z\.png; add one.*DetInferencer|dict\(img='),
        ('/x/c.png', r"no entry for the image /x/c\.png \(it has 'd/c\.png', in another folder\)"),
        (None, r'comes as an array has no name to look up in .*parts\.json; pass them with the input'),
    ],
)
def test_an_image_without_entry(part_file, path, words):
    with pytest.raises(ValueError, match=words):
        LoadParts(part_file, NAMES)(image(path))
    results = LoadParts(part_file, NAMES, missing='invalid')(image(path))
    assert results['part_boxes'].tolist() == [[0] * 4] * 2
    assert results['part_valid'].tolist() == [False, False]


@pytest.mark.parametrize('path', ['/x/a.png', None])
def test_neither_file_nor_parts(path):
    with pytest.raises(ValueError, match=r'comes without `parts`, and there is no part_file; pass them with the input'):
        LoadParts(None, NAMES)(image(path))
    assert not LoadParts(None, NAMES, missing='invalid')(image(path))['part_valid'].any()


def test_one_entry_for_two_images(part_file, tmp_path, monkeypatch):
    load = LoadParts(part_file, NAMES)
    monkeypatch.chdir(tmp_path)
    for path in ('a.png', str(tmp_path / 'a.png'), './a.png'):  # one file
        load(image(path))
    with pytest.raises(ValueError, match=r"entry 'a\.png' of .* fits two images, .*a\.png and /other/a\.png"):
        load(image('/other/a.png'))


@pytest.mark.parametrize(('size', 'fits'), [((19, 20), True), ((20, 19), True), ((18, 20), False), ((20, 18), False)])
def test_boxes_beyond_the_image(part_file, size, fits):
    load = LoadParts(part_file, NAMES)
    if fits:
        load(image(size=size))
        return
    with pytest.raises(ValueError, match=rf"boxes of 'left lung' of 'a\.png' in .* {size[1]}x{size[0]} pixels"):
        load(image(size=size))


def test_options(part_file, tmp_path):
    with pytest.raises(ValueError, match=r"missing must be 'error' or 'invalid', got 'skip'"):
        LoadParts(part_file, NAMES, missing='skip')
    with pytest.raises(ValueError, match='more than once'):
        LoadParts(part_file, ['heart', 'heart'])
    with pytest.raises(FileNotFoundError, match=r'absent\.json: does not exist; correct `part_file`'):
        LoadParts(tmp_path / 'absent.json', NAMES)
    with pytest.raises(ValueError, match=r"no image has the part 'left long' \(nearest: 'left lung'\)"):
        LoadParts(part_file, ['left long'])
    part_file.write_text('{"a.png": {"heart": [0, 0, 0, 5], "lung": [0, 0, -1, 5]}}')
    with pytest.raises(ValueError, match=r'(?s)negative width.*zero width'):
        LoadParts(part_file, ['heart', 'lung'])


def test_it_stands_behind_the_image(part_file):
    with pytest.raises(ValueError, match='behind LoadImageFromFile'):
        LoadParts(part_file, NAMES)({'img_path': 'a.png'})


def test_unused_parts_do_no_harm(part_file):
    assert LoadParts(part_file, ['heart'])(copy.deepcopy(image()))['part_boxes'].tolist() == [[4, 5, 10, 12]]
