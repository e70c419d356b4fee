"""As faster-rcnn_r18-gn_fpn_bccd.py, with the recall of the RPN measured beside the detections."""

_base_ = './faster-rcnn_r18-gn_fpn_bccd.py'

default_hooks = dict(proposals=dict(type='ProposalRecordHook'))
