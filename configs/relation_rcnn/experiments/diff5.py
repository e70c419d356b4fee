"""The log: "(5) 源码的box训练有点像cascade-rcnn,进行了四级级联，这一点我没有参考" (the source trains its boxes in a
cascade of four stages; not followed in the log).

The category relation of `sc` in a cascade of four stages. On FPN: mmdet's cascades have no C4 head.
"""

_base_ = './_base_/cascade.py'

relation_stages = [
    dict(
        type='RelationBBoxHead',
        num_shared_fcs=2,
        in_channels=64,
        fc_out_channels=256,
        num_classes=10,
        reg_class_agnostic=True,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=stds),
        relations=[{{_base_.category}}],
    )
    for stds in ([0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067], [0.025, 0.025, 0.05, 0.05])
]

model = dict(
    roi_head=dict(
        num_stages=4,
        stage_loss_weights=[1, 0.5, 0.25, 0.125],
        bbox_head=[{{_base_.first_stage}}, *relation_stages],
    ),
    train_cfg=dict(
        rcnn=[
            dict(
                assigner=dict(
                    type='MaxIoUAssigner',
                    pos_iou_thr=iou_thr,
                    neg_iou_thr=iou_thr,
                    min_pos_iou=iou_thr,
                    match_low_quality=False,
                ),
                sampler=dict(type='RandomSampler', num=128, pos_fraction=0.25),
                mask_size=28,
                pos_weight=-1,
            )
            for iou_thr in (0.5, 0.6, 0.7, 0.75)
        ]
    ),
)
