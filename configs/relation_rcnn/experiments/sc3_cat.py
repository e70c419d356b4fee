"""The log: "sc3 （只有relation_network) 只留空间关系 cat 42.15% 27.61% 修改评测代码" (relation network alone,
concatenated).

Only the relation network of `sc2`, beside the plain features.
"""

_base_ = './sc.py'

relations = {{_base_.relation_network}}

model = dict(roi_head=dict(bbox_head=dict(relations=[relations])))
