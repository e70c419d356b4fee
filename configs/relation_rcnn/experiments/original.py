"""The log: "original 原始模型 mAP1 40.19 mAP50 25.96" (the original model), later "测试 均按1000box测试 original 0.01
41.37% 0.5 25.96%" (all tests with 1000 boxes).

Plain Mask R-CNN C4, tested with 1000 / 8 RoIs. Most other rows start from its checkpoint.
"""

_base_ = './_base_/c4.py'

model = dict(test_cfg=dict(rpn=dict(max_per_img=125)))
