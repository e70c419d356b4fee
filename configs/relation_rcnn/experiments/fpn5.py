"""The log: "fpn5(加入object与object之间的关系 512-128 不work (...) 可能共用一套参数的原因
对object_part的relation有影响" (the relation between object and object, 512 queries and 128 keys, does not work;
perhaps because it shares its parameters with that of object and part).

As `fpn3` with attention to the 128 / 8 RoIs of highest score beside, which has parameters of its own.
"""

_base_ = './fpn3.py'

objects = dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='topk', key_num=16)

model = dict(
    roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.category}}, {{_base_.relation_network}}, objects])))
)
