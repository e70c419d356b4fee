"""The log: "training 1/102, iter 722/722, lr 0.000994: ... 1.50it/s, lcls=1.28, lbox=4.24, lobj=148, liou=1.45,
mem_occupy=10.7G, total=154", "就离谱，训练了9个小时，loss 根本没有显著的变化，八成是损失函数的问题" (nine hours, and
the loss did not change: most likely the loss function).

YOLO with Darknet-53 for COCO, nothing of it pretrained: objectness learns the IoU of the predicted box, boxes learn by
CIoU, every term is a mean. 102 epochs at the log's rate of 0.001 after a warm-up; augmentation is mmdet's for YOLOv3.
"""

_base_ = 'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [
    dict(type='RandomStateHook'),
    dict(type='DatasetCheckHook'),
    dict(type='LossScopeHook'),
    dict(type='LossAlarmHook'),
]

max_epochs = 102

model = dict(
    backbone=dict(norm_eval=False, init_cfg=None),
    bbox_head=dict(
        type='YOLOIoUHead',
        obj_target='iou',
        level_weights=[0.4, 1.0, 4.0],
        loss_cls=dict(reduction='mean'),
        loss_conf=dict(reduction='mean'),
        loss_xy=None,
        loss_wh=None,
        loss_bbox=dict(type='CompleteIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(_delete_=True, type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.5)),
)

train_cfg = dict(max_epochs=max_epochs, val_interval=6)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2000),
    dict(type='MultiStepLR', by_epoch=True, milestones=[82, 92], gamma=0.1),
]
default_hooks = dict(checkpoint=dict(interval=6))
