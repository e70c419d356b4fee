"""Reasoning-RCNN: "Reasoning-RCNN: Unifying Adaptive Global Reasoning into Large-scale Object Detection", CVPR 2019.

Two stages at IoU 0.5 and 0.6, losses weighed 1 and 0.5; the second reads the classes of the first along a category
graph, under the attention of the image (P3 to P6, 64 channels), 256 features more. Build the graph first:

python tools/dataset_tools/category_graph.py build data/coco/annotations/instances_train2017.json \
    -o data/coco/train2017.catgraph.json

Deviations: co-occurrence in the training images is the graph (theirs, of relations and attributes of Visual Genome,
came without the code that makes it; `category_graph.py import` reads such files); each stage has fcs of its own;
scores belong to the RoIs they are given to; RoIs are drawn anew, not repeated until there are 512; from ImageNet
instead of a trained FPN (`load_from` takes a Cascade R-CNN of mmdet).
"""

_base_ = 'mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py'

custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
custom_hooks = [dict(type='RandomStateHook'), dict(type='DatasetCheckHook')]

graph = '{{$MMDET_EXT_COCO:data/coco}}/train2017.catgraph.json'
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
        stage_loss_weights=[1, 0.5],
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
                        type='CategoryGraphRelation',
                        graph=graph,
                        out_channels=256,
                        attention=dict(levels=(1, 2, 3, 4), in_channels=256, mid_channels=64),
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
                sampler=dict(type='RandomSampler', num=512, pos_fraction=0.25),
                pos_weight=-1,
            )
            for iou_thr in (0.5, 0.6)
        ]
    ),
    # Theirs: 2000 proposals at test time, NMS at 0.6.
    test_cfg=dict(rpn=dict(nms_pre=2000, max_per_img=2000, nms=dict(type='nms', iou_threshold=0.6))),
)
