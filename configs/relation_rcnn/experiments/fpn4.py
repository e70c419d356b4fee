"""The log: "fpn4(改变降学习率节点 7.5w开始降) 效果没有fpn3好" (the learning rate falls from iteration 75 000 on; not
as good as fpn3).

As `fpn3`, but the rate stays until epoch 3 (75 000 of 192 000 iterations) and falls from there.
"""

_base_ = './fpn3.py'

param_scheduler = [
    dict(type='LinearLR', start_factor=0.05, by_epoch=False, begin=0, end=50),
    dict(type='CosineAnnealingLR', eta_min=0.0, by_epoch=True, begin=3, end=8, convert_to_iter_based=True),
]
