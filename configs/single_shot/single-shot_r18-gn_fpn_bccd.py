"""Blood cells from scratch, one stage: platelets are about 20 pixels wide."""

_base_ = [
    '../_base_/models/single-shot_r18-gn_fpn.py',
    '../_base_/datasets/bccd.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 3

model = dict(bbox_head=dict(num_classes=num_classes))
