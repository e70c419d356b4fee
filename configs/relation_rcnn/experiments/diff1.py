"""The log: "2019.9.20 与源码区别 (1) attention网络的卷积层通道数不一样，且fc层后少一层relu层" (differences from the
source: other channels in the attention's convolution, and no ReLU after its fc).

`sc` with the log's own attention.
"""

_base_ = './sc.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(attention=dict(mid_channels=2, fc_act=False)))))
