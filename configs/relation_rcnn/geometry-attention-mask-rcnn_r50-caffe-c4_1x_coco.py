"""Geometry attention in a C4 head: relations read the RoI features that the last stage of the backbone gives."""

_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook')]

relations = [dict(type='GeometryAttentionRelation', keys='nongt', out_channels=1024)]

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(type='RelationBBoxHead', num_shared_fcs=0, relations=relations),
    )
)
