"""Every relation of this package side by side, for the chest phantom with its parts; a sequence is among them."""

graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'
anatomy = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')
lungs = ('left lung', 'right lung')
image_attention = dict(levels=(1, 2, 3, 4), in_channels=64, mid_channels=32)

relations = dict(
    type='RelationParallel',
    norm=dict(type='LN'),
    act=dict(type='ReLU'),
    relations=[
        dict(type='CategoryGraphRelation', graph=graph, out_channels=64, attention=image_attention),
        dict(type='SoftMappingRelation', out_channels=32),
        dict(type='SpatialGraphRelation', layers=(128, 64), learner=(64, 64)),
        dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt'),
        dict(type='ObjectPairRelation', em_dim=32, key_num=32, proj=64),
        dict(type='ObjectCountRelation'),
        dict(type='PartGeometryRelation', part_names=anatomy),
        dict(type='PartContextRelation', part_names=lungs, heads=8, key_dim=32, split=(2, 1)),
        dict(
            type='RelationSequence',
            relations=[
                dict(type='CategoryGraphRelation', graph=graph, out_channels=64),
                dict(type='SpatialGraphRelation', kernel='relu', adjacency='dense', node='input', layers=(64,)),
            ],
        ),
    ],
)
