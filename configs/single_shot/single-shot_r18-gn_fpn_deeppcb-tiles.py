"""Defects of circuit boards from scratch, one stage: half of the boxes have 30 to 40 pixels."""

_base_ = [
    '../_base_/models/single-shot_r18-gn_fpn.py',
    '../_base_/datasets/deeppcb_tiles.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 6
octave_base_scale = 3

model = dict(bbox_head=dict(num_classes=num_classes, anchor_generator=dict(octave_base_scale=octave_base_scale)))
