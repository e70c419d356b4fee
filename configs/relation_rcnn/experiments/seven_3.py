"""The log: "seven_3 relu空间+类别 54999step -> 95999step 重训box: mAP50:30.17 mAP1:43.94 512box 512box" (box
retrained).

The last three epochs of `seven`; begins at the rate at which the schedule stands there.
"""

_base_ = './seven.py'

load_from = 'work_dirs/seven/epoch_5.pth'
train_cfg = dict(max_epochs=3, val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=0, end=3, convert_to_iter_based=True),
]
