"""Relation Networks in the size of the chest phantom; see `relation-networks_r50_fpn_1x_coco.py`."""

_base_ = '../scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            base_head=False,
            insert='after_each_fc',
            fusion='add',
            relations=[dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt')],
        ),
    )
)
