"""SGRN: "Spatial-Aware Graph Relation Network for Large-Scale Object Detection", CVPR 2019.

Two stages of equal weight; the second passes the classes of the first along a learnt graph over the boxes (32
neighbours each), two layers of 8 Gaussian kernels over polar offsets, 512 and 256 wide, dropout 0.5 between.

Deviations: weights of neighbours are normalised (`normalize_over='kernels'` is their way); nodes are soft mixtures of
class weights as in the paper, where the code takes the best class; offsets are divided by the right side of the
image; the second stage does not read the fcs of the first beside its own; scores are the mean of both stages, not the
union of their boxes; mmdet's rate and image scale (theirs: a rate of 0.001 for an image per GPU, sides of 600 to
1000).
"""

_base_ = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook')]

head = dict(
    in_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=True,
    loss_bbox=dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0),
)
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
                relations=[
                    dict(
                        type='SpatialGraphRelation',
                        kernel='gaussian',
                        n_kernels=8,
                        topk=32,
                        node='semantic',
                        learner=(256, 256),
                        layers=(512, 256),
                        # As released.
                        weight_once=True,
                        dropout=0.5,
                    )
                ],
                **head,
            ),
        ],
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
                sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25, add_gt_as_proposals=False),
                pos_weight=-1,
            )
            for iou_thr in (0.5, 0.6)
        ]
    ),
    test_cfg=dict(rcnn=dict(score_thr=0.001, nms=dict(type='nms', iou_threshold=0.55), max_per_img=150)),
)
