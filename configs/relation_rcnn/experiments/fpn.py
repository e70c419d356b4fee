"""The log: "fpn(采用fpn网络，类别+relation_network) 0.01 47.06 0.5 32.70 测试时 box=1000 优于 box=512; fpn(no flip,
drop, cls_weight=0.2)" (FPN, category and relation network; 1000 boxes are better than 512 at test time; images
without objects dropped, background weighs 0.2).

The first FPN row. Its mask loss was 2.5e-5 by a mistake that `fpn3` mends: here its weight is zero. The relations are
normalised as in the published code.
"""

_base_ = './_base_/fpn.py'

graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'
category = dict(
    type='CategoryGraphRelation',
    graph=graph,
    out_channels=64,
    attention=dict(levels=(2,), in_channels=64, mid_channels=16),
)
# "part_relation" in the last rows.
relation_network = dict(type='PartContextRelation', part_names=('left lung', 'right lung'), heads=8, key_dim=32)
# "spa_rela" in the last rows.
anatomy = dict(type='PartGeometryRelation', part_names={{_base_.part_names}})

train_dataloader = dict(
    dataset=dict(filter_cfg=dict(filter_empty_gt=True), pipeline={{_base_.no_flip_pipeline}}),
)
model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            bg_weight=0.2,
            relations=dict(
                type='RelationParallel',
                norm=dict(type='LN'),
                act=dict(type='ReLU'),
                relations=[category, relation_network],
            ),
        ),
        mask_head=dict(loss_mask=dict(loss_weight=0.0)),
    )
)
