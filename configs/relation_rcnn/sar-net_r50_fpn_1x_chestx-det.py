"""SAR-Net: "A Structure-Aware Relation Network for Thoracic Diseases Detection and Segmentation", TMI 2021.

Disease relation (category graph), anatomical structure relation (place among five parts) and contextual relation
(attention to the two lungs), each normalised, side by side with the plain features; old and new classifier learn with
equal weight. Make graph and part boxes first; the part masks are those of a segmentation network, one folder per
part:

python tools/dataset_tools/category_graph.py build data/chestx_det/annotations/train.json \
    -o data/chestx_det/train.catgraph.json
python tools/dataset_tools/masks2parts.py PART_MASKS/train --images data/chestx_det/images/train \
    -o data/chestx_det/annotations/parts_train.json
python tools/dataset_tools/masks2parts.py PART_MASKS/test --images data/chestx_det/images/test \
    -o data/chestx_det/annotations/parts_test.json

Deviations: the graph is counted on the training split alone (theirs: with the test split); the image attention pads
and ignores batch padding; attention to the lungs is scaled by the root of the key width, and lungs are pooled from
the level that fits their size; left and right parts change places in flipped images; classes are the 13 of the public
data; one scale of 1024 instead of 800 to 1400; 1000 proposals at test time as theirs.
"""

_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    '../_base_/datasets/chestx_det_parts.py',
    'mmdet::_base_/schedules/schedule_1x.py',
    '../_base_/runtime.py',
]

num_classes = 13
graph = '{{$MMDET_EXT_CHESTX_DET:data/chestx_det}}/train.catgraph.json'

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
                        out_channels=256,
                        attention=dict(levels=(2,), in_channels=256, mid_channels=64),
                    ),
                    dict(type='PartGeometryRelation', part_names={{_base_.part_names}}, em_dim=64),
                    dict(type='PartContextRelation', part_names=('left lung', 'right lung'), heads=16, key_dim=64),
                ],
            ),
        ),
        mask_head=dict(num_classes=num_classes),
    )
)
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
