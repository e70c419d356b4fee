"""Relation Networks: "Relation Networks for Object Detection", CVPR 2018, arXiv:1711.11575.

An object relation module of 16 heads after each of the two fcs, added before its ReLU; no base classifier.

Deviations: 512 RoIs are drawn per image for training (theirs: all of them, the hardest 512 learn; a relation head
scores the RoIs of an image together, so single ones cannot be mined); keys stay inside of their image; the module
begins at zero; no duplicate removal network, but NMS; mmdet's rate and 12 epochs (theirs: 8).
"""

_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook')]

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            base_head=False,
            insert='after_each_fc',
            fusion='add',
            relations=[dict(type='GeometryAttentionRelation', heads=16, key_dim=64, geom_dim=64, keys='nongt')],
        ),
    )
)
