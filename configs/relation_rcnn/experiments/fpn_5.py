"""The log: "fpn_5 (...) 保存的是消融实验结果 只有cls_relation", "ablation study fpn5(只保存cls_relation)" (ablation:
category relation alone).

As `fpn3` without the relation network.
"""

_base_ = './fpn3.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.category}}]))))
