"""The log: "training 72/102, iter 722/722, lr 0.001000: ... lcls=0.517, lbox=5.3, lobj=3.01, liou=12.7,
mem_occupy=10.7G, total=8.83".

The same head from scratch on the chest phantom, small enough for a CPU: ResNet-18 of half width with group norm, 8
epochs.
"""

_base_ = [
    '../_base_/models/yolo-iou_r18-gn.py',
    '../_base_/datasets/chest_phantom.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10

custom_hooks = [
    dict(type='RandomStateHook'),
    dict(type='DatasetCheckHook'),
    dict(type='LossScopeHook'),
    dict(type='LossAlarmHook'),
]

model = dict(bbox_head=dict(num_classes=num_classes))
