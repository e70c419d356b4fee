"""RetinaFace that learns from scratch on two CPU cores: ResNet-18 of half width, group norm, faces from 8 pixels on."""

_base_ = './retina-face_mnet025_fpn-ssh.py'

channels = 64
norm_cfg = dict(type='GN', num_groups=8)

model = dict(
    data_preprocessor=dict(mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395]),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        base_channels=32,
        num_stages=3,
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(0, 1, 2),
        norm_cfg=norm_cfg,
        norm_eval=False,
        zero_init_residual=False,
        style='pytorch',
    ),
    neck=dict(
        in_channels=[32, 64, 128], out_channels=channels, num_outs=4, add_extra_convs='on_output', norm_cfg=norm_cfg
    ),
    bbox_head=dict(
        in_channels=channels,
        anchor_generator=dict(
            type='AnchorGenerator',
            strides=[4, 8, 16, 32],
            ratios=[1.2],
            scales=[2.5, 3.5],
        ),
    ),
    test_cfg=dict(nms_pre=500, max_per_img=100),
)
