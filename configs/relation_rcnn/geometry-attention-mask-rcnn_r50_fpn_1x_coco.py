"""Geometry attention beside the plain features, for boxes and masks of COCO.

To start from a trained plain detector: --cfg-options load_from=mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth
"""

_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook')]

relations = [dict(type='GeometryAttentionRelation', keys='nongt')]

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(type='RelationBBoxHead', num_shared_fcs=2, relations=relations),
    )
)
