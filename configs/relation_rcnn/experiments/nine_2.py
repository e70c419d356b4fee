"""The log: "nine_2 去掉所有图关系 只使用soft_mapping 重训box: mAP50:30.27 mAP1:44.16 512box 512box" (box retrained).

As `nine`, boxes from the enhanced features.
"""

_base_ = './nine.py'

model = dict(roi_head=dict(bbox_head=dict(reg_source='enhanced')))
