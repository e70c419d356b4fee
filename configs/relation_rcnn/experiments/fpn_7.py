"""The log: "fpn_7 在cls_rela前加入spa_rela" (spatial relation before the category relation).

As `fpn_5` with the place of each box among the anatomical parts before the category relation. Before means the order
of the features: a category graph reads scores, so nothing that it follows in a sequence could learn
("不同的cat方式没有区别", the order of the concatenation makes no difference).
"""

_base_ = './fpn_5.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.anatomy}}, {{_base_.category}}]))))
