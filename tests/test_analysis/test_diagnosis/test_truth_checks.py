"""What is true must score as true: the evaluator's measure, and box coders."""

import json

import numpy as np
import pytest
import torch
from mmdet.models.task_modules.coders import (
    DeltaXYWHBBoxCoder,
    DistancePointBBoxCoder,
    TBLRBBoxCoder,
    YOLOBBoxCoder,
)
from torch import nn

from mmdet_ext.analysis.diagnosis.truth_checks import (
    beside,
    check_coders,
    check_truth_as_predictions,
    truth_of,
)

METAINFO = {'classes': ('a', 'b')}
BOXES = [(10, 10, 40, 30), (5, 20, 25, 60), (50, 50, 90, 70)]


def infos(n=3):
    objects = [
        {'bbox': list(box), 'bbox_label': place % 2, 'ignore_flag': int(place == 2)} for place, box in enumerate(BOXES)
    ]
    return [{'img_id': index, 'width': 100, 'height': 80, 'instances': objects} for index in range(n)]


def write(path, move=0, first_id=1):
    annotations = [
        {
            'id': first_id + 10 * index + place, 'image_id': index, 'category_id': place % 2 + 1,
            'iscrowd': int(place == 2),
            'bbox': [x + move, y, x2 - x, y2 - y], 'area': (x2 - x) * (y2 - y),
        }
        for index in range(3) for place, (x, y, x2, y2) in enumerate(BOXES)
    ]  # fmt: skip
    images = [{'id': index, 'file_name': f'{index}.png', 'width': 100, 'height': 80} for index in range(3)]
    categories = [{'id': place + 1, 'name': name} for place, name in enumerate('ab')]
    path.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))
    return {'type': 'CocoMetric', 'ann_file': str(path), 'metric': ['bbox', 'proposal'], 'outfile_prefix': 'never'}


def test_truth_gives_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check = check_truth_as_predictions(write(tmp_path / 'a.json'), METAINFO, infos(), 3)
    assert check.passed
    assert check.figures['ap'] == pytest.approx(1.0)
    assert [path.name for path in tmp_path.iterdir()] == ['a.json'], 'no files of results'


def test_other_annotations_are_noticed(tmp_path):
    check = check_truth_as_predictions(write(tmp_path / 'a.json', move=9), METAINFO, infos(), 3)
    assert check.passed is False
    assert 'have an AP of 0.' in check.sentence
    assert '`ann_file`' in check.fix


def test_an_annotation_with_the_id_zero_is_never_found(tmp_path):
    check = check_truth_as_predictions(write(tmp_path / 'a.json', first_id=0), METAINFO, infos(), 3)
    assert check.passed is False
    assert 'count annotation ids from 1' in check.fix


def test_more_objects_than_coco_counts(tmp_path, monkeypatch):
    monkeypatch.setattr('mmdet_ext.analysis.diagnosis.truth_checks._MOST_PER_IMAGE', 1)
    check = check_truth_as_predictions(write(tmp_path / 'a.json', move=9), METAINFO, infos(), 3)
    assert check.passed is None
    assert 'An image has 2 objects' in check.sentence


def test_evaluators_that_take_no_boxes(tmp_path):
    check = check_truth_as_predictions({'type': 'CocoPanopticMetric'}, METAINFO, infos(), 3)
    assert check.passed is None
    assert 'does not take boxes alone' in check.sentence


def test_truth_of_an_image():
    image = truth_of(infos()[0])
    assert image.truth.labels.tolist() == [0, 1]
    assert image.ignored.tolist() == [list(map(float, BOXES[2]))]
    assert len(truth_of({'img_id': 0}).truth) == 0


class Head(nn.Module):
    def __init__(self, coder):
        super().__init__()
        self.bbox_coder = coder


class Model(nn.Module):
    def __init__(self, **coders):
        super().__init__()
        for name, coder in coders.items():
            setattr(self, name, Head(coder))


@pytest.mark.parametrize(
    'coder',
    [DeltaXYWHBBoxCoder(), TBLRBBoxCoder(), YOLOBBoxCoder(), DistancePointBBoxCoder()],
    ids=lambda c: type(c).__name__,
)
def test_coders_give_back_what_they_encode(coder):
    check = check_coders(Model(head=coder), map(truth_of, infos()), 2)
    assert (check.passed, check.figures) == (True, {'head': pytest.approx(1.0)})


def test_a_coder_that_does_not():
    class Wrong(DeltaXYWHBBoxCoder):
        def encode(self, bboxes, gt_bboxes):
            return super().encode(bboxes, gt_bboxes)[:, [1, 0, 3, 2]]

    check = check_coders(Model(good=DeltaXYWHBBoxCoder(), bad=Wrong()), map(truth_of, infos()), 2)
    assert check.passed is False
    assert check.figures['bad'] < 0.5 < check.figures['good']


def test_nothing_to_encode():
    assert check_coders(Model(), map(truth_of, infos()), 2).passed is None
    assert check_coders(Model(head=DeltaXYWHBBoxCoder()), [truth_of({})], 2).passed is None

    class Strange:
        def encode(self, gts):
            return gts

        decode = encode

    check = check_coders(Model(head=Strange()), map(truth_of, infos()), 2)
    assert check.passed is None
    assert 'head (Strange) is no coder of boxes against boxes' in check.sentence


def test_boxes_beside():
    boxes = torch.tensor([[10.0, 10, 30, 50], [5, 5, 5, 5]])
    others = beside(boxes)
    assert np.allclose(others[0], [9.1, 9.6, 34.1, 45.6], atol=1e-4)
    assert (others[:, 2:] > others[:, :2]).all()
