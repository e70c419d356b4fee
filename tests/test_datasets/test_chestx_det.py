"""ChestX-Det as COCO json: made-up entries, and the real annotations where they are at hand."""

import copy
import hashlib
import json
import runpy
import sys
import warnings
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.registry import init_default_scope
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from mmdet_ext.analysis.graph_plot import plot_category_graph
from mmdet_ext.analysis.graph_report import config_classes, report_check
from mmdet_ext.datasets.chestx_det import CLASSES, chestx_det_to_coco, describe_conversion
from mmdet_ext.graphs import CategoryGraph

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'dataset_tools' / 'chestxdet2coco.py'
SQUARE = [[10, 20], [30, 20], [30, 50], [10, 50]]
ENTRIES = [
    {'file_name': 'a.png', 'syms': [], 'boxes': [], 'polygons': []},
    {
        'file_name': 'b.png',
        'syms': ['Mass', 'Effusion'],
        'boxes': [[10, 20, 30, 50], [0, 0, 1024, 1024]],
        'polygons': [SQUARE, [[0, 0], [1024, 0], [1024, 1024], [0, 1024]]],
    },
    {'file_name': 'c.png', 'syms': ['Nodule'], 'boxes': [[10, 20, 30, 50]], 'polygons': [SQUARE]},
]


@pytest.fixture
def convert(tmp_path):
    """Convert entries, or what `change` makes of `ENTRIES`."""

    def convert(change=None, **options):
        entries = copy.deepcopy(ENTRIES)
        if change:
            change(entries)
        (tmp_path / 'in.json').write_text(json.dumps(entries))
        return chestx_det_to_coco(tmp_path / 'in.json', tmp_path / 'out' / 'train.json', **options)

    return convert


def test_closed_form(convert, tmp_path):
    result = convert()
    written = (tmp_path / 'out' / 'train.json').read_bytes()
    coco = json.loads(written)
    assert coco == result.coco
    assert (result.problems, result.skipped) == ([], [])
    assert coco['images'] == [
        {'id': number, 'file_name': f'{name}.png', 'width': 1024, 'height': 1024}
        for number, name in enumerate('abc', start=1)
    ]
    assert coco['annotations'][0] == {
        'id': 1, 'image_id': 2, 'category_id': 10, 'bbox': [10, 20, 20, 30], 'area': 600,
        'segmentation': [[10, 20, 30, 20, 30, 50, 10, 50]], 'iscrowd': 0,
    }  # fmt: skip
    assert [(a['id'], a['image_id'], a['category_id'], a['area']) for a in coco['annotations'][1:]] == [
        (2, 2, 6, 1024**2),
        (3, 3, 11, 600),
    ]
    assert coco['categories'] == [{'id': number, 'name': name} for number, name in enumerate(CLASSES, start=1)]
    assert coco['info']['source']['sha256'] == hashlib.sha256((tmp_path / 'in.json').read_bytes()).hexdigest()
    convert()
    assert (tmp_path / 'out' / 'train.json').read_bytes() == written


def test_classes_are_those_of_the_config():
    config = Config.fromfile(ROOT / 'configs/_base_/datasets/chestx_det.py')
    assert tuple(config.metainfo.classes) == CLASSES
    assert sorted(CLASSES) == list(CLASSES)
    assert len(CLASSES) == 13


def test_sizes_from_pictures(convert, tmp_path):
    for name, size in (('a', (40, 30)), ('b', (1024, 1024)), ('c', (60, 70))):
        Image.new('L', size).save(tmp_path / f'{name}.png')
    images = convert(images=tmp_path).coco['images']
    assert [(image['width'], image['height']) for image in images] == [(40, 30), (1024, 1024), (60, 70)]
    Image.new('L', (25, 70)).save(tmp_path / 'c.png')
    (tmp_path / 'a.png').write_text('no picture')
    (tmp_path / 'b.png').unlink()
    with pytest.raises(ValueError, match='has 4 errors') as caught:
        convert(images=tmp_path)
    assert f"'a.png': {tmp_path / 'a.png'} cannot be read as a picture" in str(caught.value)
    assert f"'b.png': {tmp_path / 'b.png'} does not exist" in str(caught.value)
    assert "'c.png', finding 0: the box [10, 20, 30, 50] reaches out of the image of 25 x 70" in str(caught.value)
    assert "'c.png', finding 0: the polygon reaches out of the image of 25 x 70" in str(caught.value)


def test_one_size_for_all(convert):
    with pytest.raises(ValueError, match='reaches out of the image of 1023 x 1024'):
        convert(size=(1023, 1024))
    wide = [[1500, 20], [1900, 20], [1900, 50]]
    result = convert(lambda e: e[2].update(boxes=[[1500, 20, 1900, 50]], polygons=[wide]), size=(1900, 1024))
    assert result.coco['annotations'][-1]['bbox'] == [1500, 20, 400, 30]


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        (lambda e: e[2].pop('boxes'), 'entry 2: lacks one of file_name, syms, boxes, polygons'),
        (lambda e: e.append(3), 'entry 3: lacks one of'),
        (lambda e: e[2].update(file_name=7), '7 (entry 2): `file_name` must be a name'),
        (lambda e: e[2].update(syms='Mass'), "'c.png' (entry 2): `file_name` must be a name; `syms`"),
        (lambda e: e[2].update(file_name='b.png'), "'b.png' (entry 2): stands in the file more than once"),
        (lambda e: e[2]['syms'].append('Mass'), "'c.png' (entry 2): has 2 syms, 1 boxes, 1 polygons, which must be"),
        (lambda e: e[2].update(syms=['nodule']), "the class 'nodule' is not one of the 13 (nearest: 'Nodule')"),
        (lambda e: e[2].update(syms=[['Nodule']]), "the class ['Nodule'] is not one of the 13"),
        (lambda e: e[2].update(boxes=[[1, 2, 3]]), 'the box [1, 2, 3] is not of the form [x1, y1, x2, y2]'),
        (lambda e: e[2].update(boxes=[[1, 2, 3, None]]), 'is not of the form'),
        (lambda e: e[2].update(boxes=[[30, 20, 10, 50]]), 'the box [30, 20, 10, 50] is empty or inverted'),
        (lambda e: e[2].update(boxes=[[10, 50, 30, 50]]), 'is empty or inverted: x1 < x2 and y1 < y2 must hold'),
        (lambda e: e[2].update(boxes=[[10, -1, 30, 50]]), 'the box [10, -1, 30, 50] reaches out of the image'),
        (lambda e: e[2].update(polygons=[SQUARE[:2]]), 'the polygon is not a list of at least 3 points [x, y]'),
        (lambda e: e[2].update(polygons=[[1, 2, 3, 4, 5, 6]]), 'the polygon is not a list of at least 3 points'),
        (lambda e: e[2].update(polygons=[[[10, 20], [30, 'x'], [9, 9]]]), 'the polygon is not a list of at least 3'),
        (
            lambda e: e[2].update(polygons=[[*SQUARE, [1025, 30]]]),
            'the polygon reaches out of the image of 1024 x 1024',
        ),
        (lambda e: e[2].update(polygons=[[[20, 20]] * 3]), 'the polygon covers no pixel'),
        (lambda e: e[2].update(boxes=[[14, 20, 30, 50]]), 'the polygon reaches 4 pixels out of its box'),
    ],
)
def test_bad_entries(convert, tmp_path, change, sentence):
    with pytest.raises(ValueError, match='errors; correct them, or leave these images out') as caught:
        convert(change)
    (line,) = str(caught.value).splitlines()[1:]
    assert line.startswith('- ')
    assert sentence in line
    assert any(word in line for word in ("'c.png', finding 0", 'entry 2', 'entry 3'))
    assert not (tmp_path / 'out').exists()
    # The same image is left out as a whole where that is asked for, and said.
    result = convert(change, skip_invalid=True)
    assert [image['file_name'] for image in result.coco['images']][:2] == ['a.png', 'b.png']
    assert len(result.skipped) == 1
    text = describe_conversion(result)
    assert f'error: {line[2:]}' in text
    assert f'left out: {result.skipped[0]}' in text
    assert text.endswith('1 images left out')


def test_all_errors_are_listed(convert):
    def change(entries):
        entries[1]['syms'][0] = 'Mas'
        entries[1]['boxes'][1] = [5, 5, 5, 9]
        entries[2]['polygons'][0] = []

    with pytest.raises(ValueError, match='has 3 errors'):
        convert(change)
    result = convert(change, skip_invalid=True)
    assert result.skipped == ['entry 1, b.png', 'entry 2, c.png']
    assert describe_conversion(result).endswith('1 images (1 without findings), 0 findings, 2 images left out')


def test_oddities_are_kept_and_said(convert):
    def change(entries):
        for key in ('syms', 'boxes', 'polygons'):
            entries[2][key] *= 5
        entries[1]['boxes'][0] = [5, 20, 30, 50]

    result = convert(change)
    assert len(result.coco['annotations']) == 7
    assert [problem.severity for problem in result.problems] == ['warning'] * 5
    text = describe_conversion(result)
    assert "kept as it is: the box is more than 1 pixel wider than its polygon: 'b.png', finding 0\n" in text
    assert 'has the class, box and polygon of finding 0: ' in text
    assert "'c.png', finding 1; 'c.png', finding 2; 'c.png', finding 3 and 1 more" in text
    # One pixel is not worth a word.
    assert convert(lambda e: e[2].update(boxes=[[9, 19, 31, 51]])).problems == []


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'annotation file .*absent\.json does not exist'):
        chestx_det_to_coco(tmp_path / 'absent.json', tmp_path / 'out.json')
    (tmp_path / 'in.json').write_text('{"images": []}')
    with pytest.raises(ValueError, match='is not a ChestX-Det file: it must be a list of images with file_name, syms'):
        chestx_det_to_coco(tmp_path / 'in.json', tmp_path / 'out.json')
    (tmp_path / 'in.json').write_text('nothing')
    with pytest.raises(ValueError, match=r'in\.json is not a JSON file'):
        chestx_det_to_coco(tmp_path / 'in.json', tmp_path / 'out.json')


def test_command(convert, tmp_path, monkeypatch, capsys):
    convert()
    out = tmp_path / 'new' / 'out.json'
    arguments = [str(tmp_path / 'in.json'), '-o', str(out), '--size', '2000', '1500', '--skip-invalid']
    monkeypatch.setattr(sys, 'argv', [str(TOOL), *arguments])
    runpy.run_path(str(TOOL), run_name='__main__')
    assert '3 images (1 without findings), 3 findings, 0 images left out' in capsys.readouterr().out
    assert json.loads(out.read_text())['images'][0] == {'id': 1, 'file_name': 'a.png', 'width': 2000, 'height': 1500}


@pytest.fixture(scope='module')
def real(tmp_path_factory, real_data):
    """Both splits of the real annotations: {split: (entries, conversion, file)}."""
    folder = real_data('chestx_det')
    out = tmp_path_factory.mktemp('chestx')
    splits = {}
    for split in ('train', 'test'):
        path = folder / f'ChestX_Det_{split}.json'
        result = chestx_det_to_coco(path, out / f'{split}.json')
        splits[split] = json.loads(path.read_bytes()), result, out / f'{split}.json'
    return splits


@pytest.mark.parametrize(
    ('split', 'images', 'empty', 'findings', 'widened', 'repeated'),
    [('train', 3025, 547, 7905, 116, 1), ('test', 553, 64, 1734, 34, 0)],
)
def test_real_data(real, capsys, split, images, empty, findings, widened, repeated):
    entries, result, path = real[split]
    coco = COCO(str(path))
    assert (len(coco.imgs), len(coco.anns), result.skipped) == (images, findings, [])
    assert images - len({annotation['image_id'] for annotation in coco.anns.values()}) == empty
    # Each class counted without our code.
    counts = Counter(sym for entry in entries for sym in entry['syms'])
    assert {cat['name']: len(coco.getAnnIds(catIds=[cat['id']])) for cat in coco.cats.values()} == dict(counts)
    messages = Counter(problem.message[:12] for problem in result.problems)
    assert messages == Counter({'the box is m': widened, 'has the clas': repeated})
    # What mmdet and COCO make of boxes and masks.
    for number in range(1, findings, 97):
        annotation = coco.anns[number]
        entry = entries[annotation['image_id'] - 1]
        x, y, w, h = annotation['bbox']
        first = coco.getAnnIds(imgIds=[annotation['image_id']])[0]
        assert [x, y, x + w, y + h] == entry['boxes'][number - first]
        mask = coco.annToMask(annotation)
        assert mask.shape == (1024, 1024)
        assert mask.sum() == annotation['area'] > 0
        x0, y0, w0, h0 = coco_mask.toBbox(coco.annToRLE(annotation))
        assert x - 1 <= x0 <= x0 + w0 <= x + w + 1
        assert y - 1 <= y0 <= y0 + h0 <= y + h + 1


def test_mmdet_reads_the_real_data(real):
    init_default_scope('mmdet')
    entries, _, path = real['test']
    options = dict(metainfo=dict(classes=CLASSES), data_prefix=dict(img='x/'), pipeline=[])
    dataset = CocoDataset(ann_file=str(path), **options)
    assert len(dataset) == len(entries)
    for entry, index in zip(entries[::50], range(0, len(entries), 50), strict=True):
        instances = dataset.get_data_info(index)['instances']
        assert [CLASSES[item['bbox_label']] for item in instances] == entry['syms']
        assert [item['bbox'] for item in instances] == entry['boxes']
        assert all(item['mask'] for item in instances)


@pytest.mark.parametrize('level', ['image', 'instance'])
@pytest.mark.parametrize('norm', ['sqrt', 'row', 'sym', 'cond', 'none'])
def test_graph_of_the_real_data(real, tmp_path, capsys, level, norm):
    entries, _, path = real['train']
    graph = CategoryGraph.from_coco(path, level=level, norm=norm)
    counts = np.zeros((13, 13), dtype=int)
    for entry in entries:
        shown = Counter(entry['syms'])
        for one, two in combinations(shown, 2):
            together = 1 if level == 'image' else min(shown[one], shown[two])
            counts[CLASSES.index(one), CLASSES.index(two)] += together
            counts[CLASSES.index(two), CLASSES.index(one)] += together
        for name, number in shown.items():
            counts[CLASSES.index(name), CLASSES.index(name)] += 1 if level == 'image' else number
    np.testing.assert_array_equal(graph.counts, counts)
    assert graph.n_images == 3025
    assert np.isfinite(graph.matrix).all()
    assert not graph.matrix[-1, :-1].any()
    assert graph.directed == (norm in ('row', 'cond'))
    saved = graph.save(tmp_path / 'x' / 'train.catgraph.json')
    classes = config_classes(ROOT / 'configs/_base_/datasets/chestx_det.py')
    assert report_check(saved, classes) == 0
    assert 'fits the 13 classes' in capsys.readouterr().out
    if norm != 'none':
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            CategoryGraph.load(saved).check(CLASSES)


def test_picture_of_the_real_graph(real, tmp_path):
    graph = CategoryGraph.from_coco(real['train'][2])
    picture = cv2.imread(str(plot_category_graph(graph, tmp_path / 'graph.png')))
    assert picture.std() > 10
    strongest = np.unravel_index(np.argmax(graph.matrix - 2 * np.eye(14)), (14, 14))
    assert [CLASSES[index] for index in strongest] == ['Consolidation', 'Effusion']


def test_the_real_test_split_is_told_from_training_data(real):
    with pytest.warns(UserWarning, match=r'validation or test data \(.*test\.json\)'):
        CategoryGraph.from_coco(real['test'][2]).check(CLASSES)
