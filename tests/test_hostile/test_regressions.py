"""Files that once made a reader crash, hang, or go on with wrong numbers."""

import json
import pickle

import numpy as np
import pytest
import torch

from mmdet_ext.analysis.naming import read_annotations
from mmdet_ext.analysis.stored_predictions import read_predictions
from mmdet_ext.datasets import CocoLandmarkDataset
from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.chestx_det import chestx_det_to_coco
from mmdet_ext.datasets.coco_file import read_coco
from mmdet_ext.datasets.voc_checks import check_voc
from mmdet_ext.datasets.wider_labels import read_wider_labels
from mmdet_ext.evaluation.face_truth import CocoFaces
from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.graphs.legacy import read_matrix
from mmdet_ext.reliability.hostile import samples


def change(raw: bytes, *places, value) -> dict:
    data = json.loads(raw)
    node = data
    for place in places[:-1]:
        node = node[place]
    node[places[-1]] = value
    return data


@pytest.fixture
def write(tmp_path):
    def write(content, name='x.json'):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    return write


DEEP = b'[' * 100_000


def test_deep_nesting(write):
    for read in (CategoryGraph.from_coco, CategoryGraph.load, read_coco, lambda path: chestx_det_to_coco(path, 'o')):
        with pytest.raises(ValueError, match=r'x\.json'):
            read(write(DEEP))


@pytest.mark.parametrize(
    ('places', 'value', 'sentence'),
    [
        (('images', 0, 'id'), [1], r'x\.json has the image id \[1\]; an id is a number or a text'),
        (('categories', 0, 'id'), {}, 'has the category id {}'),
        (('categories', 0, 'name'), ['lung'], 'the `name` of every category must be a text'),
        (('annotations', 1, 'image_id'), [1], r'annotation 2 belongs to the image id \[1\]'),
        (('annotations', 1, 'category_id'), {}, 'annotation 2 has the category id {}'),
    ],
)
def test_counting(write, places, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        CategoryGraph.from_coco(write(change(samples.coco(), *places, value=value)))


@pytest.mark.parametrize(
    ('places', 'value', 'sentence'),
    [
        (('images',), None, 'is no COCO file: it lacks the list `images`'),
        (('images', 0), 5, 'entry 0 of `images` needs id, got 5'),
        (('annotations', 2, 'image_id'), [1], 'the `image_id` of entry 2 of `annotations` is no number or text'),
        (('annotations', 2, 'image_id'), 77, 'has an annotation of the image id 77, which `images` does not have'),
        (('annotations', 2, 'bbox'), [1, 2, 3], r'annotation 2 of the list has the box \[1, 2, 3\], not four numbers'),
        (('annotations', 2, 'bbox', 0), 1e300, 'not four numbers of pixels'),
    ],
)
def test_reading_truth(write, places, value, sentence):
    path = write(change(samples.coco(), *places, value=value))
    for read in (read_coco, lambda path: read_annotations(path, samples.CLASSES), lambda path: CocoFaces(str(path))):
        with pytest.raises(ValueError, match=sentence):
            read(path)


def test_reading_truth_of_no_text(write, tmp_path):
    with pytest.raises(ValueError, match=r'x\.json is not valid JSON'):
        read_coco(write(b'\xff\xfe\x00'))
    with pytest.raises(FileNotFoundError, match=r'none\.json does not exist'):
        read_coco(tmp_path / 'none.json')
    assert len(read_coco(write(samples.coco()))['annotations']) == 6


@pytest.mark.parametrize('value', ['x', ['a', 1, 2], [float('nan'), 1, 2], [10**400] * 3, 7])
def test_landmarks(write, value):
    path = write(change(samples.coco(landmarks=True), 'annotations', 0, 'keypoints', value=value))
    with pytest.raises(ValueError, match=r'x\.json.*keypoints'):
        CocoFaces(str(path))
    options = dict(metainfo=dict(classes=samples.CLASSES), data_prefix=dict(img=''), test_mode=True, pipeline=[])
    with pytest.raises(ValueError, match=r'x\.json.*`keypoints` of annotation 1 .* three finite numbers'):
        CocoLandmarkDataset(ann_file=str(path), **options)


@pytest.mark.parametrize('name', [3, None, '', ['a']])
def test_names_of_images(write, name):
    (problem,) = check_coco(write(change(samples.coco(), 'images', 1, 'file_name', value=name)), samples.CLASSES)
    assert '1 images have a `file_name` that is no text (image ids 2)' in str(problem)


@pytest.mark.parametrize(
    ('old', 'new', 'fault'),
    [
        ('<width>64', '<width>inf', "`width` is 'inf' instead of a whole number"),
        ('<width>64', '<width>64.0', "`width` is '64.0' instead of a whole number"),
        ('<difficult>0', '<difficult>', '`object` without `difficult`'),
    ],
)
def test_voc(tmp_path, old, new, fault):
    (tmp_path / 'Annotations').mkdir()
    (tmp_path / 'Annotations' / 'a.xml').write_text(samples.voc().decode().replace(old, new, 1))
    (tmp_path / 'set.txt').write_text('a\n')
    problems = check_voc(str(tmp_path / 'set.txt'), str(tmp_path), samples.CLASSES, images='none')
    assert fault in '\n'.join(map(str, problems))


@pytest.mark.parametrize(
    ('old', 'new', 'sentence'),
    [
        ('40 50', '1_0 50', 'a face is a line of numbers'),
        ('40 50', '٣ 50', 'a face is a line of numbers'),
        ('\n2\n', '\n' + '9' * 5000 + '\n', 'not by its number of faces'),
        ('\n2\n', '\n٢\n', 'not by its number of faces'),
    ],
)
def test_labels(write, old, new, sentence):
    with pytest.raises(ValueError, match=f'x.txt, line . *.*{sentence}'):
        read_wider_labels(write(samples.wider().decode().replace(old, new, 1).encode(), 'x.txt'))


def test_labels_of_no_text(write):
    with pytest.raises(ValueError, match=r'x\.txt cannot be read as text in UTF-8'):
        read_wider_labels(write(b'\xff\xfe\x00', 'x.txt'))


@pytest.mark.parametrize(
    ('key', 'value', 'sentence'),
    [
        ('norm', 5, '`norm` must be a text, got 5'),
        ('self_loop', '1', '`self_loop` must be a finite number'),
        ('restrict', 'lung', '`restrict` must be a list of names or null'),
        ('directed', 1, '`directed` must be true or false'),
        ('n_images', -1, '`n_images` must be a number of images'),
        ('sources', True, '`sources` must be a list of objects with `file`'),
        ('sources', [{}], '`sources` must be a list of objects with `file`'),
        ('counts', [[0.5, 0, 0], [0, 0, 0], [0, 0, 0]], '`counts` holds values that are no numbers of objects'),
        ('counts', [[1e300, 0, 0], [0, 0, 0], [0, 0, 0]], '`counts` holds numbers that are too large'),
        ('counts', [[10**400, 0, 0], [0, 0, 0], [0, 0, 0]], '`counts` is not a table of numbers'),
    ],
)
def test_graphs(write, key, value, sentence):
    with pytest.raises(ValueError, match=sentence):
        CategoryGraph.load(write(change(samples.graph('.catgraph.json'), key, value=value), 'x.catgraph.json'))


def test_half_a_surrogate_pair_can_be_written(write, tmp_path):
    raw = change(samples.graph('.catgraph.json'), 'classes', 0, value='\ud800')
    graph = CategoryGraph.load(write(raw, 'x.catgraph.json'))
    assert CategoryGraph.load(graph.save(tmp_path / 'y.catgraph.json')).classes == graph.classes


def test_damaged_archives(write):
    raw = samples.graph('.npz')
    for place in range(40, len(raw) - 40, 7):
        path = write(raw[:place] + bytes(6) + raw[place + 6 :], 'x.npz')
        try:
            CategoryGraph.load(path)
        except ValueError as error:
            assert 'x.npz' in str(error)  # noqa: PT017


@pytest.mark.parametrize('value', [1e300, -1e300])
def test_matrix_beyond_float32(tmp_path, value):
    np.save(tmp_path / 'm.npy', np.full((2, 2), value))
    with pytest.raises(ValueError, match='no square matrix of finite numbers'):
        read_matrix(tmp_path / 'm.npy')


def test_matrix_with_a_damaged_header(write):
    with pytest.raises(ValueError, match=r'm\.npy cannot be read as a matrix'):
        read_matrix(write(samples.matrix('.npy')[:60], 'm.npy'))


def test_outline_far_outside_is_not_drawn(write, tmp_path):
    """It would take gigabytes."""
    data = json.loads(samples.chestx_det())
    data[0]['polygons'][0][1] = [1e9, 1e9]
    with pytest.raises(ValueError, match='the polygon reaches out of the image'):
        chestx_det_to_coco(write(data), tmp_path / 'o.json', size=(64, 64))
    data[0]['polygons'][0][1] = [10**400, 1]
    with pytest.raises(ValueError, match='the polygon is not a list of at least 3 points'):
        chestx_det_to_coco(write(data), tmp_path / 'o.json', size=(64, 64))


@pytest.mark.parametrize(
    ('change', 'sentence'),
    [
        ({'img_id': [1]}, 'is not of the form|holds predictions'),
        ({'ori_shape': 'ab'}, 'ori_shape must be height and width in pixels'),
        ({'ori_shape': (0, 4)}, 'ori_shape must be height and width in pixels'),
        ({'pred_instances': 5}, 'tools/test.py --out writes'),
        ({'pred_instances': {'bboxes': 'x', 'scores': 'y', 'labels': 'z'}}, 'tools/test.py --out writes'),
        (
            {'pred_instances': {'bboxes': torch.ones(1, 4), 'scores': torch.ones(1), 'labels': torch.ones(1)}},
            'labels must be whole numbers, got torch.float32',
        ),
    ],
)
def test_predictions(write, change, sentence):
    good = {'bboxes': torch.ones(1, 4), 'scores': torch.ones(1), 'labels': torch.tensor([0])}
    content = [{'img_id': 1, 'ori_shape': (4, 4), 'pred_instances': good, **change}]
    with pytest.raises(ValueError, match=sentence):
        read_predictions(write(pickle.dumps(content), 'p.pkl'))


def test_a_tensor_beyond_its_storage(write):
    """torch makes the storage longer, and gives what was in memory there."""
    content = pickle.dumps([{'img_id': 1, 'pred_instances': {'bboxes': torch.ones(2, 4)}}], 2)
    assert content.count(b'K\x02K\x04\x86') == 1
    for size in (b'K\x7fK\x04\x86', b'K\x02K\x7f\x86'):
        with pytest.raises(ValueError, match=r'p\.pkl was not loaded: it holds a tensor that reaches beyond'):
            read_predictions(write(content.replace(b'K\x02K\x04\x86', size), 'p.pkl'))
