"""Blood cells, levels fused as YOLOv3 does: upsampled and concatenated, where FPN upsamples and adds.

Three levels, the coarsest first.
"""

_base_ = './single-shot_r18-gn_fpn_bccd.py'

strides = [32, 16, 8]
norm_cfg = dict(type='GN', num_groups=16)

model = dict(
    backbone=dict(out_indices=(1, 2, 3)),
    neck=dict(
        _delete_=True,
        type='YOLOV3Neck',
        num_scales=3,
        in_channels=[256, 128, 64],
        out_channels=[64, 64, 64],
        norm_cfg=norm_cfg,
    ),
    bbox_head=dict(anchor_generator=dict(strides=strides)),
)
