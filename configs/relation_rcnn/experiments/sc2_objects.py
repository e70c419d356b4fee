"""The log: "sc2 (类别+relation_network) 44.31% 29.75%", the other reading: Relation Networks between the objects.

As `sc2`, but attention among the RoIs.
"""

_base_ = './sc.py'

objects = dict(type='GeometryAttentionRelation', heads=8, key_dim=32, keys='nongt')

model = dict(
    roi_head=dict(
        bbox_head=dict(relations=dict(_delete_=True, type='RelationParallel', relations=[{{_base_.category}}, objects]))
    )
)
