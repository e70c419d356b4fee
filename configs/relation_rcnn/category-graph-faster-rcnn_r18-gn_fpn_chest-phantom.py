"""Category graph with image attention. Build the graph first:

python tools/dataset_tools/category_graph.py build data/chest_phantom/annotations/train.json \
    -o data/chest_phantom/train.catgraph.json
"""

_base_ = '../scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'

graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            relations=[
                dict(
                    type='CategoryGraphRelation',
                    graph=graph,
                    attention=dict(levels=(1, 2, 3, 4), in_channels=64, mid_channels=32),
                )
            ],
        ),
    )
)
