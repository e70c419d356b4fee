"""The log: "three 高斯(random) 74913step: mAP50:21.73 mAP1:35.72 512box(train) 512box; 21.04 34.94 default; 23.93
37.44 128box" (spatial relation, Gaussian of random start).

A learnt graph over the boxes with one Gaussian kernel over polar offsets, in place of the category relation. The
schedule of 8 epochs, stopped after 6 (74 913 iterations). `three_b` and `three_c` go on from here.
"""

_base_ = './_base_/own_category.py'

train_cfg = dict(max_epochs=6, val_interval=6)
model = dict(
    roi_head=dict(
        bbox_head=dict(
            relations=dict(
                _delete_=True,
                type='SpatialGraphRelation',
                kernel='gaussian',
                n_kernels=1,
                # 32 of 512 in the log.
                topk=4,
                node='semantic',
                detach_pool=False,
                learner=(128, 64),
                layers=(64,),
            )
        )
    )
)
