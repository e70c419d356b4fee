"""The log: "用了yolov3思想，一个gt仅仅只分配给了最高iou的那一个候选框 ... pos_threshold = 1.1 neg_threshold = 0.7 ...
只使用交叉熵损失 ... 引入了新的边框回归loss: ciou_loss" (as YOLOv3: one box for each ground truth; cross entropy alone;
CIoU).

Goes on from `focal_a25` with positives by best match alone, cross entropy over all negatives, and CIoU of decoded
boxes. Small objects weigh up to twice as much, as in the log's code.
"""

_base_ = './focal_a25.py'

load_from = 'work_dirs/focal_a25/epoch_4.pth'
model = dict(
    bbox_head=dict(
        reg_decoded_bbox=True,
        small_obj_weight='2-area',
        loss_cls=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True),
        loss_bbox=dict(_delete_=True, type='CompleteIoULoss', loss_weight=1.5),
    ),
    train_cfg=dict(assigner=dict(pos_iou_thr=1.1, neg_iou_thr=0.7)),
)
