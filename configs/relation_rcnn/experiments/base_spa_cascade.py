"""The log: "base_spa (...) 现加上级联box看效果" (now with a cascade, to see what it does).

As `base_cls` with the relation of `base_spa`.
"""

_base_ = './_base_/cascade.py'

anatomy = dict(type='PartGeometryRelation', part_names={{_base_.part_names}})
relation_stages = [
    dict(
        type='RelationBBoxHead',
        num_shared_fcs=2,
        in_channels=64,
        fc_out_channels=256,
        num_classes=10,
        reg_class_agnostic=True,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=stds),
        relations=[anatomy],
    )
    for stds in ([0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
]

model = dict(roi_head=dict(bbox_head=[{{_base_.first_stage}}, *relation_stages]))
