"""The log: "five 无 95999step: mAP50:21.68 mAP1:35.08 128box(train) 128box" (no kernel).

As `four`, but the learnt graph alone decides, wherever the boxes lie.
"""

_base_ = './four.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(kernel='none'))))
