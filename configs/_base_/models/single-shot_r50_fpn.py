"""RetinaNet's convs and anchors with a SingleShotHead: one call of each loss for all levels and images."""

_base_ = 'mmdet::_base_/models/retinanet_r50_fpn.py'

model = dict(bbox_head=dict(type='SingleShotHead'))
