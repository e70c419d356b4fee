"""Mask R-CNN FPN on the chest phantom: the log's detector from 2019-10 on, and no relation.

Scaled as `c4.py`, but for the iterations: the 192 000 of the log's FPN runs are 8 epochs. RoIs at test time: 1000 /
8.
"""

_base_ = [
    '../../../_base_/models/mask-rcnn_r18-gn_fpn.py',
    './phantom.py',
    '../../../_base_/schedules/gn_scratch_8e.py',
    '../../../_base_/runtime.py',
]

num_classes = 10

model = dict(
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
    train_cfg=dict(rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(max_per_img=125)),
)
