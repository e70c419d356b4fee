"""The log: "three 高斯(random) 74913step -> 84999step 不重训box: mAP50:26.36 mAP1:39.73 512box(train) 512box; 27.85
40.43 128box; 26.88 39.07 64box" (box not retrained).

One epoch more of `three`, boxes from the base regressor; begins at the rate at which the schedule stands there.
"""

_base_ = './three.py'

load_from = 'work_dirs/three/epoch_6.pth'
train_cfg = dict(max_epochs=1, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=1.5e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
]
model = dict(roi_head=dict(bbox_head=dict(reg_source='base')))
