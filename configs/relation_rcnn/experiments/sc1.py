"""The log: "sc1 (类别+空间) 0.01 42.62 0.5 28.04%" (category and spatial).

The category relation and a spatial graph with a ReLU kernel, side by side.
"""

_base_ = './sc.py'

spatial = dict(type='SpatialGraphRelation', kernel='relu', n_kernels=1, adjacency='dense', layers=(64,))

model = dict(
    roi_head=dict(
        bbox_head=dict(relations=dict(_delete_=True, type='RelationParallel', relations=[{{_base_.category}}, spatial]))
    )
)
