"""The log: "sc2 (类别+relation_network) 44.31% 29.75% 已修改评测代码(影响较大)" (category and relation network; the
evaluation code has changed, which matters much: not to be compared with the rows before).

The relation network attends from objects to parts: row fpn5 adds the one between objects and blames the parameters
that both share. `sc2_objects` is the other reading.
"""

_base_ = './sc.py'

model = dict(
    roi_head=dict(
        bbox_head=dict(
            relations=dict(
                _delete_=True,
                type='RelationParallel',
                relations=[{{_base_.category}}, {{_base_.relation_network}}],
            )
        )
    )
)
