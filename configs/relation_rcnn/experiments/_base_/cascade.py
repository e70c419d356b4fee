"""Cascade Mask R-CNN on the chest phantom, 128 RoIs in each stage. The experiments add the stages after the first."""

_base_ = [
    '../../../_base_/models/cascade-mask-rcnn_r18-gn_fpn.py',
    './phantom.py',
    '../../../_base_/schedules/gn_scratch_8e.py',
    '../../../_base_/runtime.py',
]

num_classes = 10
graph = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/train.catgraph.json'
category = dict(
    type='CategoryGraphRelation',
    graph=graph,
    out_channels=64,
    attention=dict(levels=(2,), in_channels=64, mid_channels=16),
)
first_stage = dict(
    type='Shared2FCBBoxHead',
    in_channels=64,
    fc_out_channels=256,
    num_classes=num_classes,
    bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
    reg_class_agnostic=True,
)

model = dict(
    roi_head=dict(type='RelationCascadeRoIHead', mask_head=dict(num_classes=num_classes)),
    test_cfg=dict(rpn=dict(max_per_img=125)),
)
