"""What happens before detections are picked."""

import sys

import pytest
import torch

from mmdet_ext.models.dense_heads.predictions import all_candidates, widen_all

from .dense_case import TEST_CFG


def test_widen_all():
    maps = widen_all([torch.ones(1).half(), torch.ones(1).double()])
    assert [x.dtype for x in maps] == [torch.float32, torch.float64]


@pytest.mark.parametrize('nms_pre', [-1, 0, None])
def test_all(nms_pre):
    given = {name: value for name, value in TEST_CFG.items() if name != 'nms_pre'}
    given = given if nms_pre is None else dict(given, nms_pre=nms_pre)
    cfg = all_candidates(given, 'Head')
    assert cfg.nms_pre == sys.maxsize
    assert cfg.nms.iou_threshold == 0.5
    assert given.get('nms_pre') == nms_pre


def test_some():
    assert all_candidates(TEST_CFG, 'Head').nms_pre == 1000


def test_none():
    with pytest.raises(ValueError, match=r'^Head: prediction needs test_cfg'):
        all_candidates(None, 'Head')
