"""Category graph with image attention on real chest radiographs. Build the graph first:

python tools/dataset_tools/category_graph.py build data/chestx_det/annotations/train.json \
    -o data/chestx_det/train.catgraph.json
"""

_base_ = [
    'mmdet::_base_/models/faster-rcnn_r50_fpn.py',
    '../_base_/datasets/chestx_det.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/runtime.py',
]

graph = '{{$MMDET_EXT_CHESTX_DET:data/chestx_det}}/train.catgraph.json'
num_classes = 13

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            num_classes=num_classes,
            relations=[
                dict(
                    type='CategoryGraphRelation',
                    graph=graph,
                    attention=dict(levels=(1, 2, 3, 4), in_channels=256, mid_channels=64),
                )
            ],
        ),
    )
)
