from typing import Any

import pytest
import torch

from mmdet_ext.deployment.candidates import ABSENT
from mmdet_ext.deployment.dense import anchor_candidates, dense_detections, yolo_candidates

from .export_case import build, one_stage

SIZE = (64, 80)


def maps_of(kind: str, **options: Any) -> tuple:
    model = build(one_stage(kind, **options))
    features = model.extract_feat(torch.randn(2, 3, *SIZE))
    return model.bbox_head, features


@pytest.mark.parametrize('kind', ['SingleShotHead', 'RetinaFaceHead', 'YOLOIoUHead', 'YOLOV3Head', 'RetinaHead'])
def test_detections_are_the_heads_own(kind: str) -> None:
    head, features = maps_of(kind)
    found = dense_detections(head, features, *SIZE)
    metas = [dict(img_shape=SIZE, batch_input_shape=SIZE)] * 2
    for i, own in enumerate(head.predict_by_feat(*head(features), batch_img_metas=metas)):
        there = found.scores[i] > ABSENT
        assert len(own) > 5
        torch.testing.assert_close(found.boxes[i][there], own.bboxes)
        torch.testing.assert_close(found.scores[i][there], own.scores)
        assert torch.equal(found.labels[i][there], own.labels)
        if kind == 'RetinaFaceHead':
            torch.testing.assert_close(found.extras['keypoints'][i][there], own.keypoints)


def test_softmax_leaves_the_background_out() -> None:
    loss = dict(type='CrossEntropyLoss', use_sigmoid=False)
    head, features = maps_of('SingleShotHead', loss_cls=loss)
    found = anchor_candidates(head, head(features), dict(score_thr=0.0), *SIZE)
    assert set(found.labels.unique().tolist()) == {0, 1, 2}


def test_levels_are_labels_for_an_rpn() -> None:
    head, features = maps_of('SingleShotHead', num_classes=1)
    cfg = dict(nms_pre=7, score_thr=1.0)
    found = anchor_candidates(head, head(features), cfg, *SIZE, by_level=True)
    assert found.labels[0].tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert (found.scores > 0).all()  # no threshold


def test_boxes_are_clipped_where_the_coder_clips() -> None:
    for clip in (True, False):
        head, features = maps_of('SingleShotHead', bbox_coder=dict(type='DeltaXYWHBBoxCoder', clip_border=clip))
        boxes = anchor_candidates(head, head(features), dict(score_thr=0), *SIZE).boxes
        assert (boxes.min() >= 0) == clip
        assert (boxes[..., 3].max() <= SIZE[0]) == clip


def test_candidates_of_low_objectness_are_out() -> None:
    head, features = maps_of('YOLOIoUHead')
    maps = head(features)
    every = yolo_candidates(head, maps, dict(nms_pre=30))
    some = yolo_candidates(head, maps, dict(nms_pre=30, conf_thr=0.5))
    none = yolo_candidates(head, maps, dict(nms_pre=30, conf_thr=1.5))
    assert (every.scores > ABSENT).all()
    assert (none.scores == ABSENT).all()
    assert (some.scores > ABSENT).any()
