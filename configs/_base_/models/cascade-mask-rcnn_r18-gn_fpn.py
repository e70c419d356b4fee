"""mmdet's three-stage Cascade Mask R-CNN in the size of the small Faster R-CNN."""

_base_ = 'mmdet::_base_/models/cascade-mask-rcnn_r50_fpn.py'

channels = 64
fc_channels = 256
num_classes = 80
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
        # A list replaces the base's.
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                in_channels=channels,
                fc_out_channels=fc_channels,
                num_classes=num_classes,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=stds),
                reg_class_agnostic=True,
            )
            for stds in ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
        ],
        mask_roi_extractor=dict(type='FastRoIExtractor', out_channels=channels),
        mask_head=dict(num_convs=2, in_channels=channels, conv_out_channels=channels, num_classes=num_classes),
    ),
    train_cfg=dict(
        rpn_proposal=dict(nms_pre=500, max_per_img=2 * num_proposals),
        rcnn=[
            dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=iou_thr,
                    neg_iou_thr=iou_thr,
                    min_pos_iou=iou_thr,
                    match_low_quality=False,
                ),
                sampler=dict(type='RandomSampler', num=num_rois, pos_fraction=0.25),
                mask_size=28,
                pos_weight=-1,
            )
            for iou_thr in (0.5, 0.6, 0.7)
        ],
    ),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=num_proposals)),
)
