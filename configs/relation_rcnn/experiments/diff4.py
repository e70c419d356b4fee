"""The log: "(4) 我的代码中，旧box的训练梯度通过class_weight回传，源码中 (...)
class_weight进行了detach，截断了梯度回传" (the old box learns through class_weight; the source detaches it).

`sc` with a gradient from the semantic pool to the base classifier.
"""

_base_ = './sc.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(detach_pool=False))))
