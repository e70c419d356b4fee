"""A one-stage detector that learns from scratch on two CPU cores: ResNet-18 of half width, group norm, 64 channels.

Sigmoids, focal loss, smooth L1, anchors from 16 pixels on: the reference of the ablations.
"""

_base_ = './single-shot_r50_fpn.py'

channels = 64
norm_cfg = dict(type='GN', num_groups=16)

model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        zero_init_residual=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels, num_outs=4, norm_cfg=norm_cfg),
    bbox_head=dict(
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        norm_cfg=norm_cfg,
        anchor_generator=dict(octave_base_scale=2, strides=[8, 16, 32, 64]),
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=0.11, loss_weight=1.0),
    ),
)
