"""SSD300 for COCO, whose losses are parts of the config: what SSDHead fixes (softmax, mined negatives, smooth L1) is
written out. Data and schedule are mmdet's.
"""

_base_ = 'mmdet::ssd/ssd300_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [
    dict(type='RandomStateHook'),
    dict(type='DatasetCheckHook'),
    dict(type='LossScopeHook'),
    dict(type='CheckInvalidLossHook', interval=50, priority='VERY_LOW'),
]

model = dict(
    bbox_head=dict(
        type='SingleShotHead',
        loss_cls=dict(
            type='OHEMLoss', use_sigmoid=False, min_neg=0, loss=dict(type='CrossEntropyLoss', use_sigmoid=False)
        ),
        loss_bbox=dict(type='SmoothL1Loss', beta=1.0),
        init_cfg=dict(type='Xavier', layer='Conv2d', distribution='uniform', bias=0),
    )
)
