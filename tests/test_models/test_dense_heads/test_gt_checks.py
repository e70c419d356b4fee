"""Ground truth that makes no sense is named."""

import math
import re

import pytest
import torch

from mmdet_ext.models.dense_heads.gt_checks import check_gts

from .dense_case import EMPTY, GTS, NUM_CLASSES, images, instances


def check(*gts, ignored=None, metas=None, landmarks=None):
    inputs = images(*gts, ignored=ignored)
    check_gts(
        inputs['batch_gt_instances'],
        inputs['batch_gt_instances_ignore'],
        metas or inputs['batch_img_metas'],
        NUM_CLASSES,
        'Head',
        landmarks,
    )


def test_good_ground_truth():
    check(*GTS)
    check(EMPTY, EMPTY, ignored=[None, instances(EMPTY) and EMPTY])
    check(dict(bboxes=[[5.0, 5, 5, 5], [-9, 5, 3, 5]], labels=[0, 2]), ignored=[dict(bboxes=[[3.0, 3, 3, 3]])])


@pytest.mark.parametrize('label', [-1, 3])
def test_labels(label):
    with pytest.raises(
        ValueError, match=re.escape(f'Head: image image_1.png has the labels [{label}], allowed are 0 to 2')
    ):
        check(GTS[0], dict(GTS[1], labels=[label]))


@pytest.mark.parametrize(
    'box',
    [[math.nan, 0, 1, 1], [0, 0, math.inf, 1], [0, 5, 5, 4.0], [5, 0, 4.0, 5]],
    ids=['nan', 'inf', 'height', 'width'],
)
def test_boxes(box):
    text = re.escape(str([float(x) for x in box]))
    with pytest.raises(ValueError, match=rf'Head: image image_1\.png has the box {text}, allowed are finite'):
        check(GTS[0], dict(GTS[1], bboxes=[box]))
    with pytest.raises(ValueError, match=rf'Head: image image_0\.png has the ignored region {text}'):
        check(*GTS, ignored=[dict(bboxes=[[0, 0, 1, 1], box]), None])


def points(gts):
    return [torch.tensor(own.get('keypoints', [])).view(-1, 5, 3) for own in gts]


def test_good_landmarks():
    """Of all kinds, and of nothing; coordinates that are not labelled are not looked at."""
    check(*GTS, EMPTY, landmarks=points([*GTS, EMPTY]))
    check(EMPTY, landmarks=points([EMPTY]))


@pytest.mark.parametrize(
    'wrong',
    [(math.nan, 3, 2), (3, math.inf, 1), (3, 4, -1), (3, 4, 3), (3, 4, math.nan)],
    ids=['nan', 'inf', 'minus', 'three', 'v_nan'],
)
def test_landmarks(wrong):
    found = points(GTS)
    found[1][0, 2] = torch.tensor(wrong)
    text = re.escape(str([float(x) for x in wrong]))
    with pytest.raises(
        ValueError, match=rf'Head: image image_1\.png has the landmark \(x, y, v\) = {text}, allowed are v'
    ):
        check(*GTS, landmarks=found)


def test_images_without_a_path():
    wrong = dict(bboxes=[[0.0, 0, 1, 1]], labels=[9])
    with pytest.raises(ValueError, match='Head: image 17 has'):
        check(wrong, metas=[dict(img_id=17)])
    with pytest.raises(ValueError, match='Head: image of unknown name has'):
        check(wrong, metas=[{}])


def test_one_look_at_the_device(monkeypatch):
    """Good images cost one sync for the batch."""
    looks = []
    truth = torch.Tensor.__bool__
    monkeypatch.setattr(torch.Tensor, '__bool__', lambda self: looks.append(1) or truth(self))
    check(*GTS)
    assert len(looks) == 1
    check(*GTS, landmarks=points(GTS))
    assert len(looks) == 2


def test_several():
    wrong = dict(bboxes=[[math.nan, 0, 1, 1]], labels=[9])
    with pytest.raises(ValueError, match=r'image_1\.png has the labels .*image_1\.png has the box .*image_2') as error:
        check(GTS[0], wrong, wrong, wrong)
    assert str(error.value).count('image image') == 3
