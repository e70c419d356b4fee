"""The log: "fpn2(网络未变化 flip, no drop, cls_weight=0.5)".

As `fpn1` with a weight of 0.5 for the background.
"""

_base_ = './fpn1.py'

model = dict(roi_head=dict(bbox_head=dict(bg_weight=0.5)))
