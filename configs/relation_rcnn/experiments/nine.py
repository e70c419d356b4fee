"""The log: "nine 去掉所有图关系 只使用soft_mapping 不重训box: mAP50:30.64 mAP1:43.75 512box 512box" (no graph at all,
only the soft mapping; box not retrained).

As `seven_2` with class scores times reduced classifier weights as the only relation. It is as good as the graphs.
"""

_base_ = './seven_2.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            relations=dict(
                _delete_=True,
                type='SoftMappingRelation',
                out_channels=64,
                order='map_first',
                reduce='linear',
                detach_pool=False,
            )
        )
    )
)
