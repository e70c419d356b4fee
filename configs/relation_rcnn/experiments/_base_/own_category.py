"""The log's own category relation, of the rows before 2019-09-20, fine-tuned from `original`.

Its differences from the published code are those the log lists on that day: (1) a narrower image attention (1/64 of
the channels instead of 1/16) without ReLU after its fc, (2) mapping first, then a linear reduction, (3) no losses of
the base classifier, (4) which learns through the semantic pool instead, (5) no cascade. `sc` and `diff1` to `diff5`
have the rest.

Build the graph of all classes first:

python tools/dataset_tools/category_graph.py build data/chest_phantom/annotations/train.json \
    -o data/chest_phantom/train.catgraph.json
"""

_base_ = './c4.py'

graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'
own = dict(
    type='CategoryGraphRelation',
    out_channels=64,
    attention=dict(levels=(0,), strides=(8,), in_channels=128, mid_channels=2, fc_act=False),
    order='map_first',
    reduce='linear',
    detach_pool=False,
)
category = dict(graph=graph, **own)
category_identity = dict(graph='identity', **own)

load_from = 'work_dirs/original/epoch_8.pth'
model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(type='RelationBBoxHead', num_shared_fcs=0, base_loss_weight=0.0, relations=category),
    )
)
