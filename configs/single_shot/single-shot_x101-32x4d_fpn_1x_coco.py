"""With ResNeXt-101, for COCO: 23 blocks instead of 6 before the level of stride 16."""

_base_ = './single-shot_r50_fpn_1x_coco.py'

model = dict(
    backbone=dict(
        type='ResNeXt',
        depth=101,
        groups=32,
        base_width=4,
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://resnext101_32x4d'),
    )
)
