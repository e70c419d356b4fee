"""CIoU for the boxes of R-CNN, compared decoded; the weight of 10 is that of mmdet's IoU losses there."""

_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook'), dict(type='LossScopeHook')]

model = dict(
    roi_head=dict(
        bbox_head=dict(reg_decoded_bbox=True, loss_bbox=dict(_delete_=True, type='CompleteIoULoss', loss_weight=10.0))
    )
)
