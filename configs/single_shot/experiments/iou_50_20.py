"""The log: "所以猜想可能是与gt有重合的被视为反例的太多？所以改变 pos_threshold = 0.5 neg_threshold = 0.2 ... 并不work."
(perhaps too many that overlap a ground truth count as negatives? It does not work.)

Row 5 rolled back to, with negatives below an IoU of 0.2 only.
"""

_base_ = './_base_/rollback.py'

model = dict(train_cfg=dict(assigner=dict(neg_iou_thr=0.2)))
