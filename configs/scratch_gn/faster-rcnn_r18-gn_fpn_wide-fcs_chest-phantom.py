"""Control of the relation detector: the plain head, its fcs widened to the same number of parameters."""

_base_ = './faster-rcnn_r18-gn_fpn_chest-phantom.py'

fc_channels = 320

model = dict(roi_head=dict(bbox_head=dict(fc_out_channels=fc_channels)))
