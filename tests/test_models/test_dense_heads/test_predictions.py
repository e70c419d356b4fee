"""What happens before detections are picked."""

import sys

import pytest
import torch
from mmengine.config import ConfigDict

from mmdet_ext.models.dense_heads.predictions import best_of_levels, prediction_config, widen_all

from .dense_case import TEST_CFG


def test_widen_all():
    maps = widen_all([torch.ones(1).half(), torch.ones(1).double()])
    assert [x.dtype for x in maps] == [torch.float32, torch.float64]


@pytest.mark.parametrize('nms_pre', [-1, 0, None])
def test_all(nms_pre):
    given = {name: value for name, value in TEST_CFG.items() if name != 'nms_pre'}
    given = given if nms_pre is None else dict(given, nms_pre=nms_pre)
    cfg = prediction_config(given, [{}], False, 'Head')
    assert cfg.nms_pre == sys.maxsize
    assert cfg.nms.iou_threshold == 0.5
    assert given.get('nms_pre') == nms_pre


def test_some():
    assert prediction_config(TEST_CFG, [{}], False, 'Head').nms_pre == 1000


def test_none():
    with pytest.raises(ValueError, match=r'^Head: prediction needs test_cfg'):
        prediction_config(None, [{}], False, 'Head')


class TestBestOfLevels:
    SCORES = [torch.tensor([[0.1, 0.9], [0.8, 0.3], [0.2, 0.2]]), torch.tensor([[0.6, 0.7]])]
    ROWS = [
        dict(place=torch.tensor([0, 1, 2]), box=torch.arange(12.0).view(3, 4)),
        dict(place=torch.tensor([3]), box=torch.ones(1, 4)),
    ]

    def pick(self, **cfg):
        found = best_of_levels(self.SCORES, self.ROWS, ConfigDict(cfg))
        assert found['box'].shape == (len(found['scores']), 4)
        return [found[name].tolist() for name in ('place', 'labels')], found

    def test_threshold(self):
        """A prior comes once for every class; best first within a level."""
        (places, labels), found = self.pick(score_thr=0.25, nms_pre=100)
        assert (places, labels) == ([0, 1, 1, 3, 3], [1, 0, 1, 1, 0])
        assert found['scores'].tolist() == pytest.approx([0.9, 0.8, 0.3, 0.7, 0.6])
        assert found['box'][:3].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7]]

    def test_best_of_every_level(self):
        assert self.pick(score_thr=0.25, nms_pre=1)[0] == [[0, 3], [1, 1]]

    def test_no_threshold(self):
        assert len(self.pick(nms_pre=100)[1]['scores']) == 8

    def test_none(self):
        assert self.pick(score_thr=0.95, nms_pre=100)[0] == [[], []]


def test_an_image_without_a_scale():
    metas = [dict(img_path='a.png', scale_factor=(2, 2)), dict(img_path='b.png')]
    assert prediction_config(TEST_CFG, metas, False, 'Head').nms_pre == 1000
    assert prediction_config(TEST_CFG, metas[:1], True, 'Head').nms_pre == 1000
    with pytest.raises(ValueError, match=r'Head: image b\.png has no scale_factor .* add Resize to the test pipeline'):
        prediction_config(TEST_CFG, metas, True, 'Head')
