"""The log: "fpn5 (...) 512-512 相对上一个好一点 但也不work" (512 keys: a little better, but does not work either).

As `fpn5` with every RoI as key.
"""

_base_ = './fpn3.py'

objects = dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt')

model = dict(
    roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.category}}, {{_base_.relation_network}}, objects])))
)
