"""Nodes of hand-drawn diagrams from scratch, in tiles: shapes of 10 to 200 pixels, pools and lanes wide and flat."""

_base_ = [
    '../_base_/models/faster-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/hdbpmn_nodes_tiles.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 12
anchor_ratios = [0.2, 0.5, 1.0, 2.0]

model = dict(
    rpn_head=dict(anchor_generator=dict(ratios=anchor_ratios)),
    roi_head=dict(bbox_head=dict(num_classes=num_classes)),
)
