"""Every relation at once in a Mask R-CNN, with anatomy parts; the graph is that of the Faster R-CNN beside."""

_base_ = [
    '../_base_/models/mask-rcnn_r18-gn_fpn.py',
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
        mask_head=dict(num_classes=num_classes),
    )
)

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
