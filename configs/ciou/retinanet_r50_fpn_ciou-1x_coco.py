"""CIoU in mmdet's own RetinaNet head, compared decoded."""

_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook'), dict(type='LossScopeHook')]

model = dict(
    bbox_head=dict(reg_decoded_bbox=True, loss_bbox=dict(_delete_=True, type='CompleteIoULoss', loss_weight=2.0))
)
