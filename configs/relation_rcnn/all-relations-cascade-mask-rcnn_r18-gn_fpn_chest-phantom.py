"""Every relation at once in the later stages of a Cascade Mask R-CNN, with anatomy parts.

The first stage is plain; the graph is that of the Faster R-CNN beside.
"""

_base_ = [
    '../_base_/models/cascade-mask-rcnn_r18-gn_fpn.py',
    '../_base_/relations/all.py',
    '../_base_/datasets/chest_phantom_parts.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10

head = dict(
    in_channels={{_base_.channels}},
    fc_out_channels={{_base_.fc_channels}},
    num_classes=num_classes,
    reg_class_agnostic=True,
)
relation_head = dict(type='RelationBBoxHead', num_shared_fcs=2, relations={{_base_.relations}}, **head)
model = dict(
    roi_head=dict(
        type='RelationCascadeRoIHead',
        # A list replaces the base's.
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                **head,
            ),
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1]), **relation_head),
            dict(bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.033, 0.033, 0.067, 0.067]), **relation_head),
        ],
        mask_head=dict(num_classes=num_classes),
    )
)

val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = val_evaluator
