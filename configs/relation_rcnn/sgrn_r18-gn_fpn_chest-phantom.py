"""SGRN in the size of the chest phantom; see `sgrn_r50_fpn_1x_coco.py`."""

_base_ = [
    '../_base_/models/cascade-mask-rcnn_r18-gn_fpn.py',
    '../_base_/datasets/chest_phantom.py',
    '../_base_/schedules/gn_scratch_8e.py',
    '../_base_/runtime.py',
]

num_classes = 10
relations = [
    dict(
        type='SpatialGraphRelation',
        kernel='gaussian',
        n_kernels=8,
        topk=8,
        node='semantic',
        learner=(64, 64),
        layers=(128, 64),
        weight_once=True,
        dropout=0.5,
    )
]
head = dict(in_channels=64, fc_out_channels=256, num_classes=num_classes, reg_class_agnostic=True)
model = dict(
    roi_head=dict(
        type='RelationCascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 1],
        bbox_head=[
            dict(
                type='Shared2FCBBoxHead',
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
                **head,
            ),
            dict(
                type='RelationBBoxHead',
                num_shared_fcs=2,
                bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1]),
                relations=relations,
                **head,
            ),
        ],
        mask_roi_extractor=None,
        mask_head=None,
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
                sampler=dict(type='RandomSampler', num=128, pos_fraction=0.25, add_gt_as_proposals=False),
                pos_weight=-1,
            )
            for iou_thr in (0.5, 0.6)
        ]
    ),
)
