"""Mask R-CNN C4 that learns from scratch on two CPU cores: ResNet-18 of half width, its last stage as the RoI head.

The third stage keeps its stride, so the one feature map has stride 8, and RoIs are pooled to half the usual size.
"""

_base_ = 'mmdet::_base_/models/mask-rcnn_r50-caffe-c4.py'

channels = 128
num_rois = 64
num_proposals = 64
norm_cfg = dict(type='GN', num_groups=16, requires_grad=True)

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        depth=18,
        base_channels=32,
        strides=(1, 2, 1),
        frozen_stages=-1,
        norm_cfg=norm_cfg,
        norm_eval=False,
        style='pytorch',
        zero_init_residual=False,
        init_cfg=None,
    ),
    rpn_head=dict(
        in_channels=channels,
        feat_channels=channels,
        anchor_generator=dict(scales=[1.5, 3, 6, 12], strides=[8]),
    ),
    roi_head=dict(
        # Widths of a ResLayer follow from `stage`: these are those of a last stage of half width.
        shared_head=dict(depth=18, stage=2, norm_cfg=norm_cfg, norm_eval=False, style='pytorch'),
        bbox_roi_extractor=dict(
            type='FastRoIExtractor', roi_layer=dict(output_size=7), out_channels=channels, featmap_strides=[8]
        ),
        bbox_head=dict(roi_feat_size=4, in_channels=2 * channels),
        mask_head=dict(in_channels=2 * channels, conv_out_channels=64),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=2 * num_proposals),
        rcnn=dict(sampler=dict(num=num_rois), mask_size=8),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=num_proposals)),
)
