"""Blood cells from scratch, COCO json."""

_base_ = [
    '../_base_/models/faster-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 3

model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes)))
