"""Defects of circuit boards from scratch, in tiles: half of the boxes have 30 to 40 pixels, which anchors of 32 fit."""

_base_ = [
    '../_base_/models/faster-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/deeppcb_tiles.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 6
anchor_scales = [4]

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=anchor_scales)),
    roi_head=dict(bbox_head=dict(num_classes=num_classes)),
)
