"""Part boxes from label maps, folders of masks and COCO files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mmdet_ext.datasets.converters import masks_to_parts as module
from mmdet_ext.datasets.converters.masks_to_parts import _largest_box, masks_to_parts
from mmdet_ext.datasets.part_file import read_part_file

LABELS = {1: 'left lung', 7: 'heart'}
HEIGHT, WIDTH = 30, 40


def picture(*pieces, dtype=np.uint8):
    """Pixels with `(value, x, y, w, h)` filled in."""
    pixels = np.zeros((HEIGHT, WIDTH), dtype)
    for value, x, y, w, h in pieces:
        pixels[y : y + h, x : x + w] = value
    return pixels


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path)


# A large piece of each part, a smaller one of the left lung, and a value that nobody asked for.
FIRST = picture((1, 20, 2, 10, 20), (1, 35, 28, 2, 2), (7, 5, 5, 8, 9), (3, 0, 0, 2, 2))
SECOND = picture((1, 21, 0, 19, 30))
EXPECTED = {'1.png': {'left lung': [20, 2, 10, 20], 'heart': [5, 5, 8, 9]}, '2.png': {'left lung': [21, 0, 19, 30]}}


def palette():
    image = Image.fromarray(FIRST, mode='P')
    image.putpalette([(37 * i) % 256 for i in range(768)])
    return image


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'new' / 'parts.json'


@pytest.fixture
def maps(tmp_path):
    save(tmp_path / 'maps/1.png', FIRST)
    save(tmp_path / 'maps/2.png', SECOND)
    return tmp_path / 'maps'


def convert(*args, **kwargs):
    return masks_to_parts(*args, progress=False, **kwargs)


def test_label_maps(maps, out):
    assert convert(maps, out, LABELS) == EXPECTED
    assert json.loads(out.read_text()) == EXPECTED
    table, problems = read_part_file(out, list(LABELS.values()), dict.fromkeys(['1.png', '2.png'], (WIDTH, HEIGHT)))
    assert problems == []
    assert np.isnan(table.boxes[1, 1]).all()


@pytest.mark.parametrize('first', [palette(), FIRST.astype(np.uint16)], ids=['palette', '16 bit'])
def test_label_maps_of_other_kinds(maps, out, first):
    save(maps / '1.png', first)
    assert convert(maps, out, LABELS) == EXPECTED


def test_folders_of_masks(tmp_path, out):
    save(tmp_path / 'masks/left lung/1.png', (FIRST == 1) * np.uint8(255))
    save(tmp_path / 'masks/heart/1.png', FIRST == 7)
    save(tmp_path / 'masks/left lung/2.png', SECOND)
    save(tmp_path / 'masks/heart/2.png', np.zeros_like(SECOND))
    assert convert(tmp_path / 'masks', out) == EXPECTED


def test_subfolders(tmp_path, out):
    save(tmp_path / 'masks/heart/a/1.png', FIRST)
    save(tmp_path / 'masks/heart/b/1.png', SECOND)
    assert list(convert(tmp_path / 'masks', out)) == ['a/1.png', 'b/1.png']


def coco(compress):
    """The two pictures, the left lung of the first in two overlapping annotations."""
    pieces = [
        (1, 1, picture((1, 20, 2, 10, 12), (1, 35, 28, 2, 2))),
        (1, 1, picture((1, 20, 12, 10, 10))),
        (1, 2, FIRST == 7),
    ]
    annotations = []
    for number, (image, part, mask) in enumerate(pieces):
        rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        rle['counts'] = rle['counts'].decode()
        if not compress:
            flat = mask.astype(int).flatten(order='F')
            ends = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
            rle['counts'] = np.diff([0, *ends, flat.size]).tolist()
        annotations.append({'id': number, 'image_id': image, 'category_id': part, 'segmentation': rle})
    corners = [21, 0, 40, 0, 40, 30, 21, 30]
    annotations.append({'id': 9, 'image_id': 2, 'category_id': 1, 'segmentation': [corners]})
    sizes = {'width': WIDTH, 'height': HEIGHT}
    return {
        'images': [{'id': i, 'file_name': f'{i}.png', **sizes} for i in (1, 2, 3)],
        'annotations': annotations,
        'categories': [{'id': 1, 'name': 'left lung'}, {'id': 2, 'name': 'heart'}],
    }


@pytest.mark.parametrize('compress', [True, False])
def test_coco(tmp_path, out, compress, capsys):
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(coco(compress)))
    assert convert(path, out) == EXPECTED | {'3.png': {}}
    assert capsys.readouterr().out == ''


def slow_largest(mask):
    """Flood fill, one pixel after the other."""
    left = {tuple(p) for p in np.argwhere(mask)}
    best = []
    while left:
        piece, border = [], [left.pop()]
        while border:
            y, x = border.pop()
            piece.append((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            border += near
        best = max(best, piece, key=len)
    return best


@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=8), st.integers(1, 6))
def test_the_largest_piece(rows, min_area):
    mask = np.array(rows)
    pieces = slow_largest(mask)
    box = _largest_box(mask, min_area)
    if len(pieces) < min_area:
        assert box is None
        return
    x, y, w, h = box
    inside = mask[y : y + h, x : x + w]
    assert len(slow_largest(inside)) >= len(pieces)  # pieces of equal size: any of them
    assert inside.any(axis=0).all() or inside.any(axis=1).all()


def test_min_area(maps, out):
    assert convert(maps, out, LABELS, min_area=72) == EXPECTED
    with pytest.raises(ValueError, match=r"has no mask of 'heart' of at least 73 pixels; correct --labels or"):
        convert(maps, out, LABELS, min_area=73)
    assert 'heart' not in convert(maps, out, {1: 'left lung'}, min_area=73)['1.png']


def test_images(maps, out, tmp_path, monkeypatch):
    images = images_of(tmp_path, '1.jpg', '2.png', '3.png')
    warned = []
    monkeypatch.setattr(module, 'print_log', lambda text, *_: warned.append(text))
    assert convert(maps, out, LABELS, images=images) == {'1.jpg': EXPECTED['1.png'], '2.png': EXPECTED['2.png']}
    assert warned == [f'1 images below {images} have no mask, so no entry in {out}']


def images_of(tmp_path, *names, shape=(HEIGHT, WIDTH)):
    for name in names:
        save(tmp_path / 'images' / name, np.zeros(shape, np.uint8))
    return tmp_path / 'images'


@pytest.mark.parametrize(
    ('break_it', 'error', 'words'),
    [
        (lambda t: (t / 'absent', {}), FileNotFoundError, 'absent does not exist: give a folder of masks or a COCO'),
        (lambda t: (t / 'maps', {}), ValueError, 'maps has no folder per part; give --labels'),
        (lambda t: (t / 'images', {'labels': LABELS}), ValueError, 'images has no masks: files that end in .bmp'),
        (lambda t: (t / 'maps', {'labels': {1: 'a', 2: 'a'}}), ValueError, 'several pixel values the same part'),
        (lambda t: (t / 'maps', {'labels': {1: 'a', 9: 'b'}}), ValueError, "no mask of 'b' of at least 1 pixels"),
        (lambda t: (t / 'maps', {'labels': LABELS, 'images': t / 'no'}), FileNotFoundError, 'image folder'),
        (lambda t: (t / 'maps', {'labels': LABELS, 'images': images_of(t, '1.png')}), ValueError,
         'the mask 2.png belongs to no image below'),
        (lambda t: (t / 'maps', {'labels': LABELS, 'images': images_of(t, '1.png', '1.jpg', '2.png')}), ValueError,
         "the mask 1.png belongs to several images: '1.jpg', '1.png'"),
        (lambda t: (t / 'maps', {'labels': LABELS, 'images': images_of(t, '1.png', '2.png', shape=(40, 30))}),
         ValueError, "are not as large as annotated: '1.png' (annotated 40x30, file 30x40); a mask must be"),
    ],
)  # fmt: skip
def test_bad_input(maps, tmp_path, out, break_it, error, words):
    (tmp_path / 'images').mkdir()
    masks, options = break_it(tmp_path)
    with pytest.raises(error) as caught:
        convert(masks, out, **options)
    assert words in str(caught.value)
    assert not out.exists()


def test_masks_that_are_no_masks(maps, out):
    save(maps / '3.png', np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    with pytest.raises(ValueError, match=r'3\.png has 3 channels; save it with one'):
        convert(maps, out, LABELS)
    (maps / '3.png').write_bytes(b'no picture')
    with pytest.raises(ValueError, match=r'3\.png cannot be read'):
        convert(maps, out, LABELS)


def test_two_masks_of_one_image(maps, out, tmp_path):
    save(maps / '1.bmp', FIRST)
    with pytest.raises(ValueError, match=r'several masks for the image 1\.jpg; keep one'):
        convert(maps, out, LABELS, images=images_of(tmp_path, '1.jpg', '2.png'))


def test_masks_of_one_image_in_different_sizes(tmp_path, out):
    save(tmp_path / 'masks/heart/1.png', FIRST)
    save(tmp_path / 'masks/lung/1.png', FIRST[:-1])
    with pytest.raises(ValueError, match=r"masks 1\.png of 'heart', 'lung' in .* differ in size"):
        convert(tmp_path / 'masks', out)


def test_bad_coco(tmp_path, out):
    path = tmp_path / 'coco.json'
    for text in ('{', '[]', '{"images": [{"id": 1}], "annotations": [], "categories": []}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r'coco\.json is not a COCO file with masks'):
            convert(path, out)
    path.write_text('{}')
    with pytest.raises(ValueError, match=r'coco\.json has no mask of at least 1 pixels'):
        convert(path, out)
    data = coco(True)
    del data['annotations'][1]['segmentation']
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r'coco\.json: annotation 1 has no usable mask'):
        convert(path, out)
    with pytest.raises(ValueError, match=r'the parts in .*coco\.json are its categories'):
        convert(path, out, LABELS)
