"""The log: "发现还是提高不了，所以改回 pos_threshold = 0.5 neg_threshold = 0.4 终于涨了（2月22号）：
step1066300-ep073-loss5.715.pd" (no better, so back to these; up at last).

As `iou_110_70`, whose checkpoint it starts from, with positives from IoU 0.5 on and negatives below 0.4: the log's
best, which it rolls back to again and again.
"""

_base_ = './iou_110_70.py'

load_from = 'work_dirs/iou_110_70/epoch_4.pth'
train_cfg = dict(max_epochs=5)
model = dict(train_cfg=dict(assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4)))
