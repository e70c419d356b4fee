"""The log: "(只计算非背景框之间的空间relation, em_dim=32,box_num=32 特征维度1024 不work)" (32 boxes, embedding of 32,
1024 features as they are: does not work).

As `fpn5_fg64` with 32 / 4 boxes, em_dim 32 and no projection: as wide as the features, as in the log.
"""

_base_ = './fpn3.py'

objects = dict(type='ObjectPairRelation', key='fg', em_dim=32, key_num=8)

model = dict(
    roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.category}}, {{_base_.relation_network}}, objects])))
)
