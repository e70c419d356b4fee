"""Defects of circuit boards from scratch, without anchors: FCOS, so no size of a box has to be guessed."""

_base_ = [
    '../_base_/models/single-shot_r18-gn_fpn.py',
    '../_base_/datasets/deeppcb_tiles.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 6
channels = 64
strides = [8, 16, 32, 64]
# By the longest distance from a point to a side of its box.
regress_ranges = ((-1, 32), (32, 64), (64, 128), (128, 1e8))
norm_cfg = dict(type='GN', num_groups=16)

model = dict(
    type='FCOS',
    bbox_head=dict(
        _delete_=True,
        type='FCOSHead',
        num_classes=num_classes,
        in_channels=channels,
        feat_channels=channels,
        stacked_convs=2,
        strides=strides,
        regress_ranges=regress_ranges,
        center_sampling=True,
        norm_on_bbox=True,
        centerness_on_reg=True,
        norm_cfg=norm_cfg,
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type='GIoULoss', loss_weight=1.0),
        loss_centerness=dict(type='CrossEntropyLoss', use_sigmoid=True, loss_weight=1.0),
    ),
    train_cfg=None,
)
