"""Boxes and masks from scratch."""

_base_ = [
    '../_base_/models/mask-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/chest_phantom.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10

model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)))

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
