"""As single-shot_r50_fpn.py, with Darknet-53 and its scale of pixels (0 to 1)."""

_base_ = './single-shot_r50_fpn.py'

model = dict(
    data_preprocessor=dict(mean=[0, 0, 0], std=[255.0, 255.0, 255.0]),
    backbone=dict(
        _delete_=True,
        type='Darknet',
        depth=53,
        out_indices=(3, 4, 5),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://darknet53'),
    ),
    neck=dict(in_channels=[256, 512, 1024], start_level=0),
)
