"""The log: "(只计算非背景框之间的空间relation, em_dim=64,box_num=64 加一层relu(fc()) 特征降维到512 不work)" (only
boxes that are not background, 64 of them, embedding of 64, then fc and ReLU to 512: does not work).

As `fpn3` with the embedded geometry of 64 / 8 foreground boxes beside, projected to half the width of the features.
"""

_base_ = './fpn3.py'

objects = dict(type='ObjectPairRelation', key='fg', em_dim=64, key_num=8, proj=128)

model = dict(
    roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.category}}, {{_base_.relation_network}}, objects])))
)
