"""YOLO that learns from scratch on two CPU cores: ResNet-18 of half width and the YOLOv3 neck with group norm.

Anchors are for objects of 10 to 160 pixels; `YOLOAssigner` gives each ground truth its own best anchor of all levels.
"""

norm_cfg = dict(type='GN', num_groups=16)

model = dict(
    type='YOLOV3',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
    ),
    backbone=dict(
        type='ResNet',
        depth=18,
        base_channels=32,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        zero_init_residual=False,
        style='pytorch',
    ),
    neck=dict(
        type='YOLOV3Neck', num_scales=3, in_channels=[256, 128, 64], out_channels=[128, 64, 32], norm_cfg=norm_cfg
    ),
    bbox_head=dict(
        type='YOLOIoUHead',
        num_classes=80,
        in_channels=[128, 64, 32],
        out_channels=[128, 64, 64],
        norm_cfg=norm_cfg,
        anchor_generator=dict(
            type='YOLOAnchorGenerator',
            base_sizes=[
                [(80, 64), (96, 96), (160, 128)],
                [(40, 32), (40, 40), (56, 48)],
                [(12, 12), (18, 18), (26, 26)],
            ],
            strides=[32, 16, 8],
        ),
        bbox_coder=dict(type='YOLOBBoxCoder'),
        featmap_strides=[32, 16, 8],
        level_weights=[0.4, 1.0, 4.0],
        loss_bbox=dict(type='CompleteIoULoss', loss_weight=1.0),
    ),
    train_cfg=dict(assigner=dict(type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4)),
    test_cfg=dict(
        nms_pre=1000,
        min_bbox_size=0,
        score_thr=0.05,
        conf_thr=0.005,
        nms=dict(type='nms', iou_threshold=0.45),
        max_per_img=100,
    ),
)
