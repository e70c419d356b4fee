"""The chest phantom from scratch, one stage: nodules of a few pixels want a level of stride 4."""

_base_ = [
    '../_base_/models/single-shot_r18-gn_fpn.py',
    '../_base_/datasets/chest_phantom.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10
octave_base_scale = 3
strides = [4, 8, 16, 32]

model = dict(
    neck=dict(start_level=0, add_extra_convs=False),
    bbox_head=dict(
        num_classes=num_classes, anchor_generator=dict(octave_base_scale=octave_base_scale, strides=strides)
    ),
)
