"""CocoLandmarkDataset: mmdet's CocoDataset, with keypoints in the instances."""

import json

import pytest
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS
from mmengine.registry import init_default_scope

from mmdet_ext.engine.dataset_spec import dataset_specs

POINTS = [1, 2, 2, 3, 4, 1, 0, 0, 0, 7, 8, 2, 9, 10, 2]


def annotation(number, bbox=(1, 2, 10, 12), **more):
    base = {'id': number, 'image_id': 1, 'category_id': 1, 'bbox': list(bbox), 'area': bbox[2] * bbox[3], 'iscrowd': 0}
    return base | more


def build(tmp_path, annotations, name='CocoLandmarkDataset'):
    init_default_scope('mmdet')
    images = [{'id': number, 'file_name': f'{number}.jpg', 'width': 40, 'height': 30} for number in (1, 2)]
    coco = {'images': images, 'annotations': annotations, 'categories': [{'id': 1, 'name': 'face'}]}
    path = tmp_path / 'faces.json'
    path.write_text(json.dumps(coco))
    meta = dict(classes=('face',))
    return DATASETS.build(dict(type=name, ann_file=str(path), data_prefix=dict(img='x'), metainfo=meta, pipeline=[]))


ANNOTATIONS = [
    annotation(1, ignore=1, keypoints=[9] * 15),  # left out by mmdet, as the next three
    annotation(2, (50, 2, 10, 12), keypoints=[8] * 15),
    annotation(3, (5, 5, 0.5, 12), keypoints=[7] * 15),
    annotation(4, category_id=5, keypoints=[6] * 15),
    annotation(5, keypoints=POINTS),
    annotation(6, iscrowd=1),
]


def test_keypoints_stay_with_their_annotation(tmp_path):
    first, second = build(tmp_path, ANNOTATIONS)
    assert [instance.get('keypoints') for instance in first['instances']] == [POINTS, None]
    assert [instance['ignore_flag'] for instance in first['instances']] == [0, 1]
    assert second['instances'] == []


def test_everything_else_is_as_mmdet_reads_it(tmp_path):
    ours, theirs = ([*build(tmp_path, ANNOTATIONS, name)] for name in ('CocoLandmarkDataset', 'CocoDataset'))
    assert all('keypoints' not in instance for instance in theirs[0]['instances'])  # why this class is there
    for info in ours:
        for instance in info['instances']:
            instance.pop('keypoints', None)
    assert ours == theirs


def test_the_check_of_a_config_takes_it_for_coco():
    node = dict(type='CocoLandmarkDataset', ann_file='a.json', metainfo=dict(classes=('face',)))
    (spec,) = dataset_specs(node, 'x', 'train')
    assert spec.style == 'coco'
    assert issubclass(spec.cls, CocoDataset)


@pytest.mark.parametrize('keypoints', [[], [1, 2], [1, 2, '2'], 'abc', {'a': 1}])
def test_bad_keypoints(tmp_path, keypoints):
    with pytest.raises(ValueError, match=r'faces\.json: the `keypoints` of annotation 7 must be a list of three'):
        build(tmp_path, [annotation(7, keypoints=keypoints)])
