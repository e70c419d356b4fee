"""The log: "fpn_6 只有part_relation" (part relation alone).

As `fpn3` without the category relation.
"""

_base_ = './fpn3.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(relations=[{{_base_.relation_network}}]))))
