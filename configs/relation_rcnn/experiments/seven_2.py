"""The log: "seven_2 relu空间+类别 0step -> 95999step 不重训box: mAP50:30.00 mAP1:43.58 512box 512box" (box not
retrained).

As `seven` for the whole schedule, boxes from the base regressor.
"""

_base_ = './seven.py'

train_cfg = dict(max_epochs=8, val_interval=8)
model = dict(roi_head=dict(bbox_head=dict(reg_source='base')))
