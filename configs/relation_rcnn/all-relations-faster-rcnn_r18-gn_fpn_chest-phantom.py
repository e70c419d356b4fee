"""Every relation at once in a Faster R-CNN, with anatomy parts. Build the category graph first:

python tools/dataset_tools/category_graph.py build data/chest_phantom/annotations/train.json \
    -o data/chest_phantom/train.catgraph.json
"""

_base_ = [
    '../_base_/models/faster-rcnn_r18-gn_fpn.py',
    '../_base_/relations/all.py',
    '../_base_/datasets/chest_phantom_parts.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            num_classes=num_classes,
            relations={{_base_.relations}},
        ),
    )
)
