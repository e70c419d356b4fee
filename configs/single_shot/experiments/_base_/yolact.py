"""The boxes of YOLACT++: ResNet-50 with deformable convs (v2), 19 248 priors at 550 px, no masks.

Ground truth is assigned as YOLACT does it: each has its own best prior whatever their IoU, above 0.5 a prior is
positive, below 0.4 negative, in between ignored, and so are negatives of which a crowd covers 0.7. OHEM with 3
negatives for a positive, smooth L1 of weight 1.5.

Deviations from the log's detector: no masks and no branch for semantic segmentation; sigmoids in every row, in training
and in prediction (there: 81 outputs with a background, always predicted by softmax, whatever the loss trained), so that
a row can start from the classifier of any other; the centres of priors are on a grid of 8 pixels (there: 550 / 69);
mmdet's NMS (there: Fast NMS). The log does not name its optimiser; here it is YOLACT's.
"""

_base_ = [
    '../../../_base_/models/single-shot_r50-dcn_fpn.py',
    './coco.py',
    '../../../_base_/runtime.py',
]

max_epochs = 1

model = dict(
    data_preprocessor=dict(pad_size_divisor=1),
    backbone=dict(dcn=dict(type='DCNv2')),
    neck=dict(upsample_cfg=dict(mode='bilinear')),
    bbox_head=dict(
        shared_convs=1,
        stacked_convs=0,
        anchor_generator=dict(octave_base_scale=3, scales_per_octave=1),
        bbox_coder=dict(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=dict(
            _delete_=True, type='OHEMLoss', use_sigmoid=True, loss=dict(type='CrossEntropyLoss', use_sigmoid=True)
        ),
        loss_bbox=dict(_delete_=True, type='SmoothL1Loss', beta=1.0, loss_weight=1.5),
    ),
    train_cfg=dict(
        assigner=dict(_delete_=True, type='YOLOAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, ignore_iof_thr=0.7)
    ),
    test_cfg=dict(score_thr=0.05, max_per_img=100),
)

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=1e-4, momentum=0.9, weight_decay=5e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500)]
# `--auto-scale-lr` scales the rate for another total batch size.
auto_scale_lr = dict(enable=False, base_batch_size=8)
