"""The log: "fpn3(网络未变化 flip, no drop, cls_weight=0.5, mask_loss修改正确)" (mask loss mended).

As `fpn2` with a mask branch that learns.
"""

_base_ = './fpn2.py'

model = dict(roi_head=dict(mask_head=dict(loss_mask=dict(loss_weight=1.0))))
