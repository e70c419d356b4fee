"""Heads of mmdet take the assigner by config: targets, losses, gradients, also without a ground truth."""

import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmdet_ext.models.task_modules.assigners import YOLOAssigner

SIZE = 64
STRIDES = [8, 16]
ASSIGNER = dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)
CODER = dict(type='DeltaXYWHBBoxCoder')
ANCHORS = dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=STRIDES)
TRAIN = dict(assigner=ASSIGNER, sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1, debug=False)
HEADS = {
    'RPN': dict(
        type='RPNHead', in_channels=8, feat_channels=8, anchor_generator=ANCHORS, bbox_coder=CODER,
        loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss'),
        train_cfg=dict(TRAIN, sampler=dict(type='RandomSampler', num=16, pos_fraction=0.5, add_gt_as_proposals=False)),
    ),
    'RetinaNet': dict(
        type='RetinaHead', num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1, anchor_generator=ANCHORS,
        bbox_coder=CODER, loss_cls=dict(type='FocalLoss', use_sigmoid=True), loss_bbox=dict(type='L1Loss'),
        train_cfg=TRAIN,
    ),
    'SSD': dict(
        type='SSDHead', num_classes=3, in_channels=(8, 8), bbox_coder=CODER,
        anchor_generator=dict(
            type='SSDAnchorGenerator', scale_major=False, input_size=SIZE, strides=STRIDES, ratios=[[2], [2]],
            min_sizes=[16, 32], max_sizes=[32, 56],
        ),
        train_cfg=dict(TRAIN, smoothl1_beta=1.0, neg_pos_ratio=3),
    ),
    'YOLOv3': dict(
        type='YOLOV3Head', num_classes=3, in_channels=[8, 8], out_channels=[8, 8], featmap_strides=STRIDES,
        anchor_generator=dict(
            type='YOLOAnchorGenerator', base_sizes=[[(16, 16), (24, 12)], [(32, 32), (48, 24)]], strides=STRIDES,
        ),
        train_cfg=dict(assigner=dict(ASSIGNER, pos_iou_thr=1.1, neg_iou_thr=0.7)),
    ),
}  # fmt: skip


def samples(*boxes):
    """One image per list of boxes; the labels count up, the second image has a region to be ignored."""
    found = []
    for number, image in enumerate(boxes):
        sample = DetDataSample(
            metainfo=dict(img_shape=(SIZE, SIZE), pad_shape=(SIZE, SIZE), batch_input_shape=(SIZE, SIZE))
        )
        bboxes = torch.tensor(image).float().reshape(-1, 4)
        sample.gt_instances = InstanceData(bboxes=bboxes, labels=torch.arange(len(bboxes)) % 3)
        ignored = torch.tensor([[40.0, 40, 60, 60]])[: int(number == 1)]
        sample.ignored_instances = InstanceData(bboxes=ignored, labels=torch.zeros(len(ignored), dtype=torch.int64))
        found.append(sample)
    return found


@pytest.fixture
def assigned(monkeypatch):
    """Every result of the assigner."""
    results, assign = [], YOLOAssigner.assign
    monkeypatch.setattr(
        YOLOAssigner, 'assign', lambda *args, **kwargs: results.append(assign(*args, **kwargs)) or results[-1]
    )
    return results


def features():
    return [torch.randn(2, 8, SIZE // stride, SIZE // stride) for stride in STRIDES]


def check(losses, parameters, positive=True):
    total = sum(
        torch.as_tensor(x).sum() if not isinstance(x, list) else sum(y.sum() for y in x) for x in losses.values()
    )
    assert torch.isfinite(total)
    grads = torch.autograd.grad(total, list(parameters), allow_unused=True)
    assert all(grad is None or grad.isfinite().all() for grad in grads)
    assert (total > 0) == any(grad is not None and grad.abs().sum() > 0 for grad in grads) == positive


@pytest.mark.parametrize('name', HEADS)
@pytest.mark.parametrize(
    'boxes', [([[4, 4, 30, 32], [33, 30, 60, 62]], [[10, 10, 42, 40]]), ([], [])], ids=['boxes', 'none']
)
def test_dense_heads(name, boxes, assigned):
    head = MODELS.build(ConfigDict(HEADS[name]))
    assert type(head.assigner) is YOLOAssigner
    # SSDHead takes three negatives per positive, and none without one.
    check(head.loss(features(), samples(*boxes)), head.parameters(), positive=name != 'SSD' or bool(boxes[0]))
    assert [result.num_gts for result in assigned] == [len(image) for image in boxes]
    assert [result.info['num_unmatched'] for result in assigned] == [0, 0]
    assert [int((result.gt_inds > 0).any()) for result in assigned] == [int(bool(image)) for image in boxes]


@pytest.mark.parametrize(
    'boxes', [([[4, 4, 30, 32], [33, 30, 60, 62]], [[10, 10, 42, 40]]), ([], [])], ids=['boxes', 'none']
)
def test_rcnn(boxes, assigned):
    head = MODELS.build(
        ConfigDict(
            type='StandardRoIHead',
            bbox_roi_extractor=dict(
                type='SingleRoIExtractor', roi_layer=dict(type='RoIAlign', output_size=3), out_channels=8,
                featmap_strides=STRIDES,
            ),
            bbox_head=dict(
                type='Shared2FCBBoxHead', in_channels=8, fc_out_channels=8, roi_feat_size=3, num_classes=3,
                bbox_coder=CODER, reg_class_agnostic=True,
            ),
            train_cfg=dict(
                assigner=dict(ASSIGNER, neg_iou_thr=0.5), pos_weight=-1, debug=False,
                sampler=dict(type='RandomSampler', num=16, pos_fraction=0.25, add_gt_as_proposals=True),
            ),
        )
    )  # fmt: skip
    assert type(head.bbox_assigner) is YOLOAssigner
    proposals = []
    for _ in range(2):
        corner = torch.rand(30, 2) * 40
        proposals.append(InstanceData(bboxes=torch.cat([corner, corner + 5 + torch.rand(30, 2) * 20], dim=1)))
    check(head.loss(features(), proposals, samples(*boxes)), head.parameters())
    assert [result.num_gts for result in assigned] == [len(image) for image in boxes]
