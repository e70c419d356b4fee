"""The log: "(3) 参与训练的loss不一样，我只取了新box的loss，源码新旧box的loss均参与训练" (only the loss of the new
box; in the source those of both).

`sc` without the losses of the base classifier.
"""

_base_ = './sc.py'

model = dict(roi_head=dict(bbox_head=dict(base_loss_weight=0.0)))
