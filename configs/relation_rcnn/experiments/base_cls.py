"""The log: "base_cls 有级联box center 指标下降" (with cascade, "center"; the figures fall).

The category relation in the second and third stage of a cascade, with the scores of the stage before. What "center"
was is not known.
"""

_base_ = './_base_/cascade.py'

relation_stages = [
    dict(
        type='RelationBBoxHead',
        num_shared_fcs=2,
        in_channels=64,
        fc_out_channels=256,
        num_classes=10,
        reg_class_agnostic=True,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=stds),
        relations=[{{_base_.category}}],
    )
    for stds in ([0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
]

model = dict(roi_head=dict(bbox_head=[{{_base_.first_stage}}, *relation_stages]))
