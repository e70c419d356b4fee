"""The log: "sc3 （只有relation_network +非cat）32.67% 18.64% 只留空间关系" (relation network alone, not
concatenated).

As `sc3_cat`, but its output is added to the plain features. The log lost ten points; the addition here begins at
zero.
"""

_base_ = './sc3_cat.py'

model = dict(roi_head=dict(bbox_head=dict(fusion='add')))
