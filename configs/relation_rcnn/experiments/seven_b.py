"""The log: "seven relu空间+类别 54999step -> 95999step 不重训box: mAP50:30.24 mAP1:44.31 512box 512box" (box not
retrained).

The last three epochs of `seven`, boxes from the base regressor; begins at the rate at which the schedule stands
there.
"""

_base_ = './seven_3.py'

model = dict(roi_head=dict(bbox_head=dict(reg_source='base')))
