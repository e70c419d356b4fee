"""YOLOv3 whose boxes learn by CIoU instead of four sums; objectness of a positive is 1, as in mmdet."""

_base_ = 'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook'), dict(type='LossScopeHook')]

model = dict(
    bbox_head=dict(
        type='YOLOIoUHead',
        obj_target='one',
        loss_cls=dict(reduction='mean'),
        loss_conf=dict(reduction='mean'),
        loss_xy=None,
        loss_wh=None,
        loss_bbox=dict(type='CompleteIoULoss', loss_weight=2.0),
    )
)
