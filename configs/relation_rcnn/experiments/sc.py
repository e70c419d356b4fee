"""The log: "# 按照源码思想 (...) sc （类别）0.01 42.89% 0.5 28.40%" (after the idea of the published code: category),
tested with 1000 boxes.

The category relation as published: reduced first, with ReLU, pool detached, the losses of both classifiers count.
Graph: see `_base_/own_category.py`.
"""

_base_ = './original.py'

graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'
category = dict(
    type='CategoryGraphRelation',
    graph=graph,
    out_channels=64,
    attention=dict(levels=(0,), strides=(8,), in_channels=128, mid_channels=8),
)
# Attention from the boxes to two parts of the image; in the log it is the relation network of object and part.
relation_network = dict(type='PartContextRelation', part_names=('left lung', 'right lung'), heads=8, key_dim=32)

load_from = 'work_dirs/original/epoch_8.pth'
model = dict(
    roi_head=dict(type='RelationRoIHead', bbox_head=dict(type='RelationBBoxHead', num_shared_fcs=0, relations=category))
)
