"""The log: "(2) 增强特征的最后降维方式不一样，我采用1x1卷积，源码采用fc+relu，且降维和soft_mapping操作顺序不一样"
(1x1 convolution instead of fc and ReLU, and in another order with the soft mapping).

`sc` with a linear reduction after the mapping.
"""

_base_ = './sc.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(order='map_first', reduce='linear'))))
