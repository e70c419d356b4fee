"""The log: "回滚到step1066300-ep073-loss5.715.pd，设置 pos_threshold = 0.5 neg_threshold = 0.4 使用focal_loss，
alpha=0.1" (rolled back to row 5).

As `focal_a75` with positives a ninth as heavy as negatives.
"""

_base_ = './focal_a75.py'

model = dict(bbox_head=dict(loss_cls=dict(alpha=0.1)))
