"""Tiles of a COCO data set: where they lie, what becomes of boxes, what is written."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.converters import slice_coco as module
from mmdet_ext.datasets.converters.slice_coco import _offsets, _windows, slice_coco

CATEGORIES = [{'id': 4, 'name': 'b', 'supercategory': 'x'}, {'id': 2, 'name': 'a', 'supercategory': 'x'}]


def ramp(width, height):
    """A picture without two equal rows or columns, so that a misplaced tile differs."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x % 251, y % 241, (x + 3 * y) % 239], axis=-1).astype(np.uint8)


def write(root, pictures, boxes, **extra):
    """`pictures`: {file name: pixels}; `boxes`: (number of the picture, category, box, more keys)."""
    images = []
    for number, (name, pixels) in enumerate(pictures.items(), start=1):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), pixels)
        images.append({'id': number, 'file_name': name, 'width': pixels.shape[1], 'height': pixels.shape[0]})
    annotations = [
        {'id': i + 10, 'image_id': n, 'category_id': c, 'bbox': box, 'area': box[2] * box[3], 'iscrowd': 0, **more}
        for i, (n, c, box, more) in enumerate(boxes)
    ]
    data = {'images': images, 'annotations': annotations, 'categories': CATEGORIES, **extra}
    (root / 'some.json').write_text(json.dumps(data))
    return root / 'some.json'


BOXES = [
    (1, 2, [5, 6, 10, 8], {}),  # whole in the first tile
    (1, 4, [60, 10, 10, 10], {'source': 3}),  # 4 of 10 columns in the first tile, 6 in the second
    (1, 2, [63.5, 40, 10, 10], {}),  # half a pixel in the first tile
    (1, 2, [100, 20, 8, 8], {'iscrowd': 1}),
    (1, 4, [110, 50, 8, 8], {'ignore': 1}),
    (2, 4, [1, 2, 3, 4], {}),
]


@pytest.fixture
def source(tmp_path):
    pictures = {'sub/wide.png': ramp(128, 64), 'small.png': ramp(20, 30)}
    return write(tmp_path / 'in', pictures, BOXES, info={'description': 'drawn', 'url': 'u'}, licenses=[{'id': 1}])


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'new' / 'tiles'


def cut(source, out, **options):
    return slice_coco(source, source.parent, out, progress=False, **options)


def test_tiles_and_boxes(source, out):
    coco = cut(source, out, tile=64)
    assert json.loads((out / 'annotations/some.json').read_text()) == coco
    assert coco['categories'] == CATEGORIES
    assert coco['licenses'] == [{'id': 1}]
    sub = {'source': 'sub/wide.png'}
    assert coco['images'] == [
        {'id': 1, 'file_name': 'some/wide_1_0_0.png', 'width': 64, 'height': 64, 'window': [0, 0, 64, 64], **sub},
        {'id': 2, 'file_name': 'some/wide_1_64_0.png', 'width': 64, 'height': 64, 'window': [64, 0, 64, 64], **sub},
        {'id': 3, 'file_name': 'some/small_2_0_0.png', 'width': 20, 'height': 30, 'window': [0, 0, 20, 30],
         'source': 'small.png'},
    ]  # fmt: skip
    assert coco['annotations'] == [
        {'id': 1, 'image_id': 1, 'category_id': 2, 'bbox': [5, 6, 10, 8], 'area': 80, 'iscrowd': 0},
        {'id': 2, 'image_id': 1, 'category_id': 4, 'bbox': [60, 10, 4, 10], 'area': 40, 'iscrowd': 1},
        {'id': 3, 'image_id': 2, 'category_id': 4, 'bbox': [0, 10, 6, 10], 'area': 60, 'iscrowd': 0},
        {'id': 4, 'image_id': 2, 'category_id': 2, 'bbox': [0, 40, 9.5, 10], 'area': 95, 'iscrowd': 0},
        {'id': 5, 'image_id': 2, 'category_id': 2, 'bbox': [36, 20, 8, 8], 'area': 64, 'iscrowd': 1},
        {'id': 6, 'image_id': 2, 'category_id': 4, 'bbox': [46, 50, 8, 8], 'area': 64, 'iscrowd': 0, 'ignore': 1},
        {'id': 7, 'image_id': 3, 'category_id': 4, 'bbox': [1, 2, 3, 4], 'area': 12, 'iscrowd': 0},
    ]
    assert coco['info'] == {
        'description': 'drawn',
        'source': source.as_posix(),
        'sha256': hashlib.sha256(source.read_bytes()).hexdigest(),
        'options': {'tile': 64, 'long_side': None, 'overlap': 0.0, 'min_visible': 0.5, 'keep_empty': False},
        'version': module.__version__,
        'counts': {'pictures': 2, 'tiles': 3, 'empty_tiles_left_out': 0, 'boxes': 5, 'ignored_boxes': 2,
                   'source_boxes': 4, 'source_boxes_in_no_tile': 0},
    }  # fmt: skip
    assert check_coco(out / 'annotations/some.json', img_dir=out, images='all') == []


def test_pixels(source, out):
    for record in cut(source, out, tile=48)['images']:
        x, y, w, h = record['window']
        pixels = cv2.imread(str(source.parent / record['source']))[y : y + h, x : x + w]
        np.testing.assert_array_equal(cv2.imread(str(out / record['file_name'])), pixels)


def test_every_run_writes_the_same_bytes(source, out):
    def written():
        cut(source, out, tile=50, long_side=100, overlap=0.2)
        found = {path.relative_to(out): path.read_bytes() for path in out.rglob('*') if path.is_file()}
        for path in found:
            (out / path).unlink()
        return found

    first = written()
    assert len(first) > 2
    assert written() == first


def test_shrunk_first(tmp_path, out):
    source = write(
        tmp_path, {'a.png': ramp(201, 100), 'b.png': ramp(90, 50)}, [(1, 2, [20, 20, 40, 30], {}), BOXES[-1]]
    )
    coco = cut(source, out, tile=100, long_side=100, keep_empty=True)
    assert [image['window'] for image in coco['images']] == [[0, 0, 100, 50], [0, 0, 90, 50]]
    pixels = cv2.resize(ramp(201, 100), (100, 50), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(cv2.imread(str(out / coco['images'][0]['file_name'])), pixels)
    # Both sides are whole pixels, so x and y shrink a little differently.
    expected = np.array([20, 20, 40, 30]) * np.array([100 / 201, 0.5] * 2)
    np.testing.assert_allclose(coco['annotations'][0]['bbox'], expected, atol=0.011)
    assert coco['annotations'][1]['bbox'] == [1, 2, 3, 4]


def test_a_very_flat_picture_keeps_a_row(tmp_path, out):
    source = write(tmp_path, {'a.png': ramp(400, 1)}, [(1, 2, [0, 0, 400, 1], {})])
    coco = cut(source, out, tile=100, long_side=100)
    assert coco['images'][0]['window'] == [0, 0, 100, 1]


def test_grey_pictures_stay_grey(tmp_path, out):
    source = write(tmp_path, {'a.png': ramp(30, 30)[..., 0]}, [(1, 2, [0, 0, 9, 9], {})])
    name = cut(source, out)['images'][0]['file_name']
    assert cv2.imread(str(out / name), cv2.IMREAD_UNCHANGED).shape == (30, 30)


@pytest.mark.parametrize(
    ('length', 'tile', 'overlap', 'offsets'),
    [
        (512, 256, 0.0, [0, 256]),
        (640, 256, 0.0, [0, 192, 384]),
        (513, 256, 0.0, [0, 128, 257]),
        (256, 256, 0.9, [0]),
        (100, 256, 0.0, [0]),
        (512, 256, 0.25, [0, 128, 256]),
        (12, 10, 0.99, [0, 1, 2]),
    ],
)
def test_offsets(length, tile, overlap, offsets):
    assert _offsets(length, tile, overlap) == offsets


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.floats(0, 0.95))
@settings(deadline=None, max_examples=60)
def test_tiles_cover_the_picture_evenly(width, height, tile, overlap):
    covered = np.zeros((height, width), int)
    windows = list(_windows(width, height, tile, overlap))
    assert len(set(windows)) == len(windows)
    for x, y, w, h in windows:
        assert (w, h) == (min(tile, width), min(tile, height))
        assert covered[y : y + h, x : x + w].shape == (h, w)  # none hangs out
        covered[y : y + h, x : x + w] += 1
    assert covered.min() > 0
    for length in (width, height):
        steps = np.diff(_offsets(length, tile, overlap))
        if len(steps):
            assert steps.max() - steps.min() <= 1
            assert steps.max() <= max(1, tile - round(tile * overlap))


corner = st.floats(0, 88, allow_subnormal=False)
side = st.floats(2, 60, allow_subnormal=False)


@given(st.lists(st.tuples(corner, corner, side, side), min_size=1, max_size=5), st.integers(8, 50), st.floats(0, 1))
@settings(deadline=None, max_examples=40)
def test_boxes_like_a_slow_reference(tmp_path_factory, rows, tile, min_visible):
    root = tmp_path_factory.mktemp('slow')
    boxes = [(1, 2, [x, y, min(w, 90 - x), min(h, 90 - y)], {}) for x, y, w, h in rows]
    source = write(root, {'a.png': ramp(90, 90)}, boxes)
    coco = cut(source, root / 'out', tile=tile, min_visible=min_visible, keep_empty=True)
    for image in coco['images']:
        left, top, width, height = image['window']
        expected = []
        for _, _, (x, y, w, h), _ in boxes:
            x1, x2 = max(x, left), min(x + w, left + width)
            y1, y2 = max(y, top), min(y + h, top + height)
            if x2 - x1 >= 1 and y2 - y1 >= 1:
                share = (x2 - x1) * (y2 - y1) / (w * h)
                expected.append(([x1 - left, y1 - top, x2 - x1, y2 - y1], share))
        pieces = [a for a in coco['annotations'] if a['image_id'] == image['id']]
        assert abs(len(pieces) - len(expected)) <= sum(min(box[2:]) < 1 + 1e-9 for box, _ in expected)
        for piece, (box, share) in zip(pieces, expected, strict=False):
            np.testing.assert_allclose(piece['bbox'], box, atol=0.011)
            if abs(share - min_visible) > 1e-9:
                assert piece['iscrowd'] == (share < min_visible)


def test_a_box_beyond_the_picture_counts_as_the_part_inside(tmp_path, out):
    # Within the pixel that `check_coco` tolerates: 2.5 of 3.5 columns are inside, all of them in the first tile.
    source = write(tmp_path, {'a.png': ramp(40, 40)}, [(1, 2, [-1, 5, 3.5, 10], {})])
    annotation = cut(source, out, tile=40, min_visible=1.0)['annotations'][0]
    assert annotation['bbox'] == [0, 5, 2.5, 10]
    assert annotation['iscrowd'] == 0


@pytest.mark.parametrize(('keep_empty', 'tiles'), [(False, 1), (True, 4)])
def test_empty_tiles(tmp_path, out, keep_empty, tiles):
    # The right tiles hold nothing, the lower left one an ignored piece.
    source = write(tmp_path, {'a.png': ramp(40, 40)}, [(1, 2, [2, 5, 8, 20], {})])
    coco = cut(source, out, tile=20, keep_empty=keep_empty)
    assert len(coco['images']) == len(list((out / 'some').iterdir())) == tiles
    assert coco['info']['counts']['empty_tiles_left_out'] == 4 - tiles
    assert sum(a['iscrowd'] for a in coco['annotations']) == (1 if keep_empty else 0)


def test_an_object_cut_everywhere_is_counted(tmp_path, out):
    boxes = [(1, 2, [5, 5, 30, 30], {}), (1, 2, [1, 1, 4, 4], {})]
    source = write(tmp_path, {'a.png': ramp(40, 40)}, boxes)
    counts = cut(source, out, tile=20)['info']['counts']
    assert (counts['source_boxes'], counts['source_boxes_in_no_tile']) == (2, 1)


def test_evaluation_forgives_a_detection_of_a_piece(tmp_path, out, capsys):
    boxes = [(1, 2, [30, 5, 12, 10], {}), (1, 2, [4, 4, 8, 8], {})]
    source = write(tmp_path, {'a.png': ramp(72, 36)}, boxes)
    cut(source, out, tile=36, min_visible=0.6)
    coco = COCO(str(out / 'annotations/some.json'))
    found = [{'image_id': 1, 'category_id': 2, 'bbox': [4, 4, 8, 8], 'score': 0.5}]
    piece = {'image_id': 1, 'category_id': 2, 'bbox': [30, 5, 6, 10], 'score': 0.9}
    wrong = {**piece, 'bbox': [15, 20, 6, 10]}
    precision = []
    for detections in ([*found, piece], [*found, wrong]):
        evaluation = COCOeval(coco, coco.loadRes(detections), 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        precision.append(evaluation.stats[0])
    assert precision[0] == pytest.approx(1.0)
    assert precision[1] < 0.6
    capsys.readouterr()


def test_segmentations_are_dropped_with_a_warning(tmp_path, out, monkeypatch):
    source = write(tmp_path, {'a.png': ramp(40, 40)}, [(1, 2, [2, 5, 8, 8], {'segmentation': [[2, 5, 10, 5, 10, 13]]})])
    warned = []
    monkeypatch.setattr(module, 'print_log', lambda text, *_: warned.append(text))
    assert 'segmentation' not in cut(source, out)['annotations'][0]
    assert warned == [f'the segmentations in {source} are not cut: tiles have boxes only']


def test_the_name_of_the_split(source, out):
    assert cut(source, out, name='val')['images'][0]['file_name'].startswith('val/')
    assert (out / 'annotations/val.json').is_file()
    cut(source, out)  # a split beside it
    with pytest.raises(ValueError, match=r'val exists and is not empty: delete it, or choose another --name or --out'):
        cut(source, out, name='val')


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'tile': 0}, '--tile 0 is not positive'),
        ({'tile': -5}, '--tile -5 is not positive'),
        ({'long_side': 0}, '--long-side 0 is not positive'),
        ({'overlap': 1.0}, '--overlap 1.0 is not at least 0 and below 1'),
        ({'overlap': -0.1}, '--overlap -0.1 is not at least 0'),
        ({'overlap': float('nan')}, '--overlap nan is not at least 0'),
        ({'min_visible': 1.1}, '--min-visible 1.1 is not between 0 and 1'),
        ({'name': 'a/b'}, "--name 'a/b' is no plain name of a folder"),
        ({'name': '..'}, "--name '..' is no plain name of a folder"),
        ({'name': ''}, "--name '' is no plain name"),
        ({'name': 'annotations'}, "--name 'annotations' is no plain name"),
    ],
)
def test_bad_options(source, out, options, words):
    with pytest.raises(ValueError, match=r'^--') as caught:
        cut(source, out, **options)
    assert words in str(caught.value)
    assert not out.exists()


def change(source, edit):
    data = json.loads(source.read_text())
    edit(data)
    source.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ('edit', 'words'),
    [
        (lambda d: d['images'][1].update(file_name='absent.png'), "1 of 2 images do not exist below .*'absent.png'"),
        (lambda d: d['images'][1].update(width=30, height=20), r"'small.png' \(annotated 30x20, file 20x30\)"),
        (lambda d: d['annotations'][0].update(bbox=[1, 2, -3, 4]), 'have a negative width or height'),
        (lambda d: d['annotations'][0].update(bbox=[1, 2, 3]), 'are not four finite numbers'),
        (lambda d: d['annotations'][0].update(image_id=99), '99'),
        (lambda d: d.pop('categories'), "it lacks the lists 'categories'"),
    ],
)
def test_bad_data(source, out, edit, words):
    change(source, edit)
    with pytest.raises(ValueError, match=words):
        cut(source, out)
    assert not out.exists()


def test_no_file(tmp_path, out):
    with pytest.raises(ValueError, match=r'absent\.json: does not exist'):
        cut(tmp_path / 'absent.json', out)


def test_no_tile_would_be_left(tmp_path, out):
    source = write(tmp_path, {'a.png': ramp(40, 40)}, [(1, 2, [5, 5, 30, 30], {})])
    with pytest.raises(ValueError, match=r'no tile has a box of which 0\.5 is left; choose a larger tile'):
        cut(source, out, tile=10)
    assert not (out / 'annotations').exists()


def test_a_picture_that_only_pillow_reads(source, out, monkeypatch):
    monkeypatch.setattr(module.cv2, 'imread', lambda *_: None)
    with pytest.raises(ValueError, match=r'wide\.png cannot be read by OpenCV; save it as PNG or JPEG'):
        cut(source, out)


def test_a_tile_that_cannot_be_written(source, out, monkeypatch):
    monkeypatch.setattr(module.cv2, 'imwrite', lambda *_: False)
    with pytest.raises(OSError, match=r'wide_1_0_0\.png cannot be written'):
        cut(source, out)
