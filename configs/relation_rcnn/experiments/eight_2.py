"""The log: "eight_2 基于seven 去掉类别关系 重训box: mAP50:28.93 mAP1:43.93 512box 512box" (box retrained).

As `eight`, boxes from the enhanced features.
"""

_base_ = './eight.py'

model = dict(roi_head=dict(bbox_head=dict(reg_source='enhanced')))
