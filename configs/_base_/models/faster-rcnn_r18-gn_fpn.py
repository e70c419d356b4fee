"""Faster R-CNN that learns from scratch on two CPU cores: ResNet-18 of half width, group norm, a 64-channel FPN."""

_base_ = 'mmdet::_base_/models/faster-rcnn_r50_fpn.py'

channels = 64
fc_channels = 256
num_rois = 128
num_proposals = 128
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
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=channels, norm_cfg=norm_cfg),
    rpn_head=dict(in_channels=channels, feat_channels=channels, anchor_generator=dict(scales=[3])),
    roi_head=dict(
        bbox_roi_extractor=dict(type='FastRoIExtractor', out_channels=channels),
        bbox_head=dict(in_channels=channels, fc_out_channels=fc_channels),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=2 * num_proposals),
        rcnn=dict(sampler=dict(num=num_rois)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=num_proposals)),
)
