"""The log: "sc (类别 去除图关系) 0.01 42.89% 0.5 28.40% 还是需要重新训练" (without graph; has to be trained again).

As `sc` without graph. The log took the graph out at test time only, and the figures did not move; this trains without
it.
"""

_base_ = './sc.py'

model = dict(roi_head=dict(bbox_head=dict(relations=dict(graph='none'))))
