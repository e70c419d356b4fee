"""GHM in mmdet's own RetinaNet head, which calls a loss per level: each level has a density and average of its own."""

_base_ = 'mmdet::ghm/retinanet_r50_fpn_ghm-1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook'), dict(type='LossScopeHook')]

levels = dict(scope='level', num_levels=5)

model = dict(bbox_head=dict(loss_cls=dict(type='GHMCLoss', **levels), loss_bbox=dict(type='GHMRLoss', **levels)))
