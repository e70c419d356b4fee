"""Hand-drawn diagrams from scratch: thin, overlapping edges beside large pools, hence more anchor shapes."""

_base_ = [
    '../_base_/models/faster-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/hdbpmn.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 16
anchor_ratios = [0.2, 0.5, 1.0, 2.0, 5.0]

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[4], ratios=anchor_ratios)),
    roi_head=dict(bbox_head=dict(num_classes=num_classes)),
)
