"""Pictures put together from a phantom's hold the wanted objects where they are seen."""

import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_ext.datasets.checks import check_coco
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.face_phantom import make_face_phantom
from mmdet_ext.reliability.large_picture import make_large_picture


def read(folder, name='train'):
    return json.loads((folder / 'annotations' / f'{name}.json').read_text())


@pytest.fixture(scope='module')
def chest(tmp_path_factory):
    folder = tmp_path_factory.mktemp('chest')
    make_chest_phantom(folder, train=6, val=1, size=80, preview=False, progress=False)
    return folder


def test_a_picture_of_the_same_size_is_the_first(chest, tmp_path):
    make_large_picture(chest, tmp_path, side=80, objects=1)
    first, source = read(tmp_path)['annotations'][0], read(chest)
    wanted = next(a for a in source['annotations'] if a['image_id'] == source['images'][0]['id'])
    assert {**first, 'id': wanted['id'], 'image_id': wanted['image_id']} == wanted
    image = cv2.imread(str(tmp_path / 'images' / 'train' / 'large.png'))
    assert np.array_equal(image, cv2.imread(str(chest / 'images' / 'train' / source['images'][0]['file_name'])))
    assert read(tmp_path, 'parts_train') == {'large.png': read(chest, 'parts_train')[source['images'][0]['file_name']]}


def test_many_objects_on_a_large_picture(chest, tmp_path):
    source = read(chest)
    wanted = 2 * len(source['annotations']) + 3
    make_large_picture(chest, tmp_path, side=640, objects=wanted)
    coco = read(tmp_path)
    (image,) = coco['images']
    assert (image['width'], image['height'], len(coco['annotations'])) == (640, 640, wanted)
    problems = check_coco(tmp_path / 'annotations' / 'train.json', img_dir=tmp_path / 'images' / 'train')
    assert [str(problem) for problem in problems if problem.severity == 'error'] == []
    for annotation in coco['annotations']:
        x, y, w, h = annotation['bbox']
        corners = np.reshape(annotation['segmentation'][0], (-1, 2))
        np.testing.assert_allclose([*corners.min(0), *corners.max(0)], [x, y, x + w, y + h], atol=0.2)
        mask = coco_mask.frPyObjects(annotation['segmentation'], 640, 640)
        assert coco_mask.area(mask)[0] == pytest.approx(annotation['area'], rel=0.3, abs=30)
    # The first object of the second picture stands one tile to the right.
    tiles = int(np.ceil(np.sqrt(wanted / len(source['annotations']) * len(source['images']))))
    scale = 640 / (80 * tiles)
    second = next(a for a in source['annotations'] if a['image_id'] == source['images'][1]['id'])
    moved = [(second['bbox'][0] + 80) * scale, *(value * scale for value in second['bbox'][1:])]
    assert any(np.allclose(a['bbox'], moved) for a in coco['annotations'])


def test_landmarks_move_with_their_face(tmp_path):
    faces = tmp_path / 'faces'
    make_face_phantom(faces, train=4, val=1, size=128, preview=False, progress=False)
    make_large_picture(faces, tmp_path / 'large', side=512, objects=12)
    annotations = read(tmp_path / 'large')['annotations']
    assert len(annotations) == 12
    assert any(a['num_keypoints'] for a in annotations)
    for annotation in annotations:
        points = np.reshape(annotation['keypoints'], (-1, 3))
        x, y, w, h = annotation['bbox']
        inside = points[points[:, 2] > 0][:, :2]
        assert ((inside > [x - w, y - h]) & (inside < [x + 2 * w, y + 2 * h])).all()
        assert (points[points[:, 2] == 0] == 0).all()


def test_nothing_to_fill_it_with(tmp_path):
    (tmp_path / 'annotations').mkdir()
    empty = {'images': [{'id': 1, 'file_name': 'a.png', 'width': 8, 'height': 8}], 'annotations': [], 'categories': []}
    (tmp_path / 'annotations' / 'train.json').write_text(json.dumps(empty))
    with pytest.raises(ValueError, match=r'train\.json has no objects'):
        make_large_picture(tmp_path, tmp_path / 'out', 80, 10)
