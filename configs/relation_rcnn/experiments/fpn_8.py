"""The log: "fpn_8 ours+spa" (all three).

As `fpn3` with the place of each box among the anatomical parts beside.
"""

_base_ = './fpn3.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(relations=dict(relations=[{{_base_.category}}, {{_base_.relation_network}}, {{_base_.anatomy}}]))
    )
)
