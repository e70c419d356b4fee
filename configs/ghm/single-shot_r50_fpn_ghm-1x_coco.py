"""GHM-C and GHM-R whose density is that of the whole batch, as the paper has it: one call over all levels."""

_base_ = 'mmdet::ghm/retinanet_r50_fpn_ghm-1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook'), dict(type='LossScopeHook')]

model = dict(bbox_head=dict(type='SingleShotHead', loss_cls=dict(type='GHMCLoss'), loss_bbox=dict(type='GHMRLoss')))
