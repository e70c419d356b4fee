"""The relation detector of the demo: geometry attention and object counts beside the plain features of every RoI."""

_base_ = '../scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            relations=[
                dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt'),
                dict(type='ObjectCountRelation'),
            ],
        ),
    )
)
