"""Anchor generators of configs: found wherever they are, and what they make."""

import numpy as np
import pytest
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from mmengine.config import Config

import mmdet_ext  # noqa: F401  (makes `mmdet::` and own parts known)
from mmdet_ext.analysis.anchors.heads import AnchorGrid, find_anchor_head
from tests.test_analysis.test_anchors.anchor_case import PLAIN, SSD, YOLO


def config(**model):
    return Config(dict(model=model), cfg_text='-', filename='c.py')


def test_grids_are_those_of_mmdet():
    grid = AnchorGrid.of(PLAIN)
    assert grid.levels.tolist() == [0] * 4 + [1] * 4
    assert grid.strides.tolist() == [[8, 8], [16, 16]]
    # base size 8, ratio 0.25, scales 2 and 4; then ratio 1.
    np.testing.assert_allclose(grid.shapes[:4], [[32, 8], [64, 16], [16, 16], [32, 32]], rtol=1e-6)
    np.testing.assert_allclose(grid.centres, 0, atol=1e-5)
    assert AnchorGrid.of(YOLO).centres[0].tolist() == [16, 16]
    assert np.bincount(AnchorGrid.of(SSD).levels).tolist() == [4, 6]


def test_rpn_and_its_threshold():
    cfg = config(
        rpn_head=dict(type='RPNHead', anchor_generator=PLAIN),
        train_cfg=dict(rpn=dict(assigner=dict(pos_iou_thr=0.7)), rcnn=dict(assigner=dict(pos_iou_thr=0.5))),
    )
    head = find_anchor_head(cfg)
    assert (head.key, head.kind, head.pos_iou_thr) == ('model.rpn_head.anchor_generator', AnchorGenerator, 0.7)
    assert head.options == PLAIN


@pytest.mark.parametrize(
    ('train_cfg', 'threshold'),
    [(dict(assigner=dict(pos_iou_thr=0.35)), 0.35), (dict(assigner=dict(pos_iou_thr=1.1)), 0.5), (None, 0.5),
     (dict(assigner=dict(type='ATSSAssigner', topk=9)), 0.5)],
)  # fmt: skip
def test_thresholds_of_dense_heads(train_cfg, threshold):
    cfg = config(bbox_head=dict(type='RetinaHead', anchor_generator=PLAIN), train_cfg=train_cfg)
    assert find_anchor_head(cfg).pos_iou_thr == threshold


def test_the_default_of_a_head_counts():
    head = find_anchor_head(config(bbox_head=dict(type='SSDHead', num_classes=3)))
    assert (head.key, head.kind.__name__) == ('model.bbox_head.anchor_generator', 'SSDAnchorGenerator')
    assert head.options['input_size'] == 300


def test_a_detector_in_a_wrapper_and_a_cascade_of_heads():
    inner = dict(rpn_head=dict(anchor_generator=PLAIN), train_cfg=dict(rpn=dict(assigner=dict(pos_iou_thr=0.6))))
    head = find_anchor_head(config(detector=inner))
    assert (head.key, head.pos_iou_thr) == ('model.detector.rpn_head.anchor_generator', 0.6)
    stages = [dict(anchor_generator=PLAIN), dict(anchor_generator=PLAIN)]
    rpn = [dict(assigner=dict(pos_iou_thr=0.3)), dict(assigner=dict(pos_iou_thr=0.7))]
    cfg = config(rpn_head=dict(stages=stages), train_cfg=dict(rpn=rpn))
    with pytest.raises(ValueError, match=r'several heads with anchors: choose by --head model.rpn_head.stages.0.an'):
        find_anchor_head(cfg)
    for key in ('model.rpn_head.stages.0', 'model.rpn_head.stages.0.anchor_generator'):
        head = find_anchor_head(cfg, key)
        assert (head.key, head.pos_iou_thr) == ('model.rpn_head.stages.0.anchor_generator', 0.3)


def test_configs_without_anchors_and_keys_that_are_none():
    with pytest.raises(ValueError, match=r'c.py: no head of the model has an anchor_generator; a detector without'):
        find_anchor_head(config(bbox_head=dict(type='FCOSHead', num_classes=3)))
    points = dict(type='MlvlPointGenerator', strides=[8], offset=0)
    with pytest.raises(ValueError, match=r'bbox_head.anchor_generator is a MlvlPointGenerator; anchors can be fitted'):
        find_anchor_head(config(bbox_head=dict(type='RTMDetHead', anchor_generator=points)))
    cfg = config(rpn_head=dict(anchor_generator=PLAIN))
    with pytest.raises(ValueError, match=r"--head model.rpn_heat: the config has model.rpn_head.*\(nearest: 'model.rp"):
        find_anchor_head(cfg, 'model.rpn_heat')
