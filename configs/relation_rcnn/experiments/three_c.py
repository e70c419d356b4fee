"""The log: "three 高斯(random) 84999step -> 95999step 不重训box: mAP50:24.08 mAP1:37.57 128box(train) 128box".

The last epoch of `three`, with a quarter of the RoIs in training and testing.
"""

_base_ = './three_b.py'

load_from = 'work_dirs/three_b/epoch_1.pth'
optim_wrapper = dict(optimizer=dict(lr=4e-5))
model = dict(train_cfg=dict(rcnn=dict(sampler=dict(num=16))), test_cfg=dict(rpn=dict(max_per_img=16)))
