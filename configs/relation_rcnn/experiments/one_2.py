"""The log: "one_2 不重训box mAP50:29.81 mAP1:43.95 512box 512box" (box not retrained).

As `one`, but boxes come from the base classifier's regressor.
"""

_base_ = './one.py'

model = dict(roi_head=dict(bbox_head=dict(reg_source='base')))
