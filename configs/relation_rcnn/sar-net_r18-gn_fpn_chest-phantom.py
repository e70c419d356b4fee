"""SAR-Net in the size of the chest phantom; see `sar-net_r50_fpn_1x_chestx-det.py`. Build the graph first:

python tools/dataset_tools/category_graph.py build data/chest_phantom/annotations/train.json \
    -o data/chest_phantom/train.catgraph.json
"""

_base_ = [
    '../_base_/models/mask-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/chest_phantom_parts.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10
graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            num_classes=num_classes,
            relations=dict(
                type='RelationParallel',
                norm=dict(type='LN'),
                act=dict(type='ReLU'),
                relations=[
                    dict(
                        type='CategoryGraphRelation',
                        graph=graph,
                        out_channels=64,
                        attention=dict(levels=(2,), in_channels=64, mid_channels=16),
                    ),
                    dict(type='PartGeometryRelation', part_names={{_base_.part_names}}),
                    dict(type='PartContextRelation', part_names=('left lung', 'right lung'), heads=8, key_dim=32),
                ],
            ),
        ),
        mask_head=dict(num_classes=num_classes),
    )
)

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
