"""The log: "seven relu空间+类别 54999step 重训box [Nr,Nr] x [Nr,D]: mAP50:28.47 mAP1:41.37 512box 128box; 28.63 42.74
512box; 27.88 42.55 default; [Nr,1,Nr] x [Nr,D]: 28.63 42.74 512box 512box" (spatial and category relation; box
retrained).

Category relation, then a dense graph over the boxes with a ReLU kernel, whose nodes are what the first one gives. The
two products of the log are the same in another memory layout. The schedule of 8 epochs, stopped after 5 (54 999
iterations).
"""

_base_ = './_base_/own_category.py'

spatial = dict(type='SpatialGraphRelation', kernel='relu', n_kernels=1, adjacency='dense', node='input', layers=(64,))

train_cfg = dict(max_epochs=5, val_interval=5)
model = dict(
    roi_head=dict(
        bbox_head=dict(relations=dict(_delete_=True, type='RelationSequence', relations=[{{_base_.category}}, spatial]))
    )
)
