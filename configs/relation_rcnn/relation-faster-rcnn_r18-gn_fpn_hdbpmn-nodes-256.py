"""Geometry attention on the nodes of whole diagrams: what stands around a shape says much about its class."""

_base_ = '../scratch_gn/faster-rcnn_r18-gn_fpn_hdbpmn-nodes-256.py'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            relations=[dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt')],
        ),
    )
)
