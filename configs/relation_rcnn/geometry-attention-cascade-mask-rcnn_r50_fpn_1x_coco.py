"""Geometry attention in the second and third stage of a cascade, for boxes and masks of COCO.

To start from a trained plain detector: --cfg-options load_from=cascade_mask_rcnn_r50_fpn_1x_coco_20200203-9d4dcb24.pth
"""

_base_ = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook')]

relations = [dict(type='GeometryAttentionRelation', keys='nongt')]

head = dict(
    in_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=True,
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)
relation_head = dict(type='RelationBBoxHead', num_shared_fcs=2, relations=relations, **head)
model = dict(
    roi_head=dict(
        type='RelationCascadeRoIHead',
        # A list replaces the base's.
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                **head,
            ),
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1]), **relation_head),
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.033, 0.033, 0.067, 0.067]), **relation_head),
        ],
    )
)
