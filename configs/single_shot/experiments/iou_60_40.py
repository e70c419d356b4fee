"""The log: "回滚到step1066300-ep073-loss5.715.pd，设置 pos_threshold = 0.6 neg_threshold = 0.4" (rolled back to row 5).

Row 5 rolled back to, with positives from an IoU of 0.6 on.
"""

_base_ = './_base_/rollback.py'

model = dict(train_cfg=dict(assigner=dict(pos_iou_thr=0.6)))
