"""The log: "base_spa 无级联box 所有指标下降 (...) loss 添加错误 少loss_cls和loss_box 又重新开始训练" (no cascade, all
figures fall; the base classifier's losses had been forgotten, hence trained again).

As `base` with the place of each box among the anatomical parts; both classifiers learn.
"""

_base_ = './base.py'

model = dict(
    roi_head=dict(
        type='RelationRoIHead',
        bbox_head=dict(
            type='RelationBBoxHead',
            num_shared_fcs=2,
            relations=[dict(type='PartGeometryRelation', part_names={{_base_.part_names}})],
        ),
    )
)
