r"""Geometry attention on nodes of hand-drawn diagrams: what stands around a shape says much about its class.

To start from the trained plain detector, which the tables of README.md do:

    python tools/train.py configs/scratch_gn/faster-rcnn_r18-gn_fpn_hdbpmn-nodes-tiles.py
    python tools/train.py configs/relation_rcnn/relation-faster-rcnn_r18-gn_fpn_hdbpmn-nodes-tiles.py --cfg-options \
      load_from=work_dirs/faster-rcnn_r18-gn_fpn_hdbpmn-nodes-tiles/epoch_8.pth
"""

_base_ = '../scratch_gn/faster-rcnn_r18-gn_fpn_hdbpmn-nodes-tiles.py'

relation_dropout = 0.3
reg_source = 'base'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            relations=[dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt')],
            relation_dropout=relation_dropout,
            reg_source=reg_source,
        ),
    )
)
