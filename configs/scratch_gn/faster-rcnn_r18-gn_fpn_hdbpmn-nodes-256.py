"""Nodes of whole hand-drawn diagrams at 256 px from scratch: most shapes have 8 to 30 pixels, hence small anchors."""

_base_ = [
    '../_base_/models/faster-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/hdbpmn_nodes_256.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 12
anchor_scales = [2]
anchor_ratios = [0.2, 0.5, 1.0, 2.0]
# 140 pictures: an epoch has 18 iterations.
max_epochs = 40

model = dict(
    rpn_head=dict(anchor_generator=dict(scales=anchor_scales, ratios=anchor_ratios)),
    roi_head=dict(bbox_head=dict(num_classes=num_classes)),
)
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0, end=max_epochs, convert_to_iter_based=True),
]
