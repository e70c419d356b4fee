"""RetinaFace with MobileNet-0.25: three levels of 64 channels, squares of 16 to 512 pixels, five landmarks.

As in the public PyTorch training (biubug6/Pytorch_Retinaface): ImageNet's mean in BGR and no scale, a face matches
anchors from IoU 0.35 on and has one of its own from 0.2 on, seven negatives per positive.
"""

channels = 64
pos_iou_thr = 0.35
neg_iou_thr = 0.35
neg_pos_ratio = 7
box_weight = 2.0
landmark_weight = 1.0

model = dict(
    type='SingleStageDetector',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[104, 117, 123], std=[1, 1, 1], bgr_to_rgb=False, pad_size_divisor=32
    ),
    backbone=dict(type='MobileNetV1', widen_factor=0.25),
    neck=dict(type='FPNSSH', in_channels=[64, 128, 256], out_channels=channels, num_outs=3),
    bbox_head=dict(
        type='RetinaFaceHead',
        num_classes=1,
        in_channels=channels,
        loss_cls=dict(
            type='OHEMLoss', neg_pos_ratio=neg_pos_ratio, loss=dict(type='CrossEntropyLoss', use_sigmoid=False)
        ),
        loss_bbox=dict(type='SmoothL1Loss', loss_weight=box_weight),
        loss_landmark=dict(type='SmoothL1Loss', loss_weight=landmark_weight),
    ),
    train_cfg=dict(
        assigner=dict(
            type='YOLOAssigner', pos_iou_thr=pos_iou_thr, neg_iou_thr=neg_iou_thr, min_best_iou=0.2, ignore_iof_thr=0.5
        ),
        allowed_border=-1,
        pos_weight=-1,
        debug=False,
    ),
    test_cfg=dict(
        nms_pre=5000, min_bbox_size=0, score_thr=0.02, nms=dict(type='nms', iou_threshold=0.4), max_per_img=750
    ),
)
