"""The log: "sc (类别 去除att) 0.01 42.89% 还是需要重新训练" (without attention; has to be trained again).

As `sc` without image attention, trained so.
"""

_base_ = './sc.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(attention=None))))
