"""Mask R-CNN C4 on the chest phantom: the log's detector of 2019-07 to 2019-10, and no relation.

What is scaled to the phantom: 96 000 iterations of the log are 8 epochs (12 000 are one), its RoI numbers are divided
by 8 (512 are 64, 128 are 16, 1000 are 125, its default of 2000 is 250), for training and for testing.
"""

_base_ = [
    '../../../_base_/models/mask-rcnn_r18-gn_c4.py',
    './phantom.py',
    '../../../_base_/schedules/gn_scratch_8e.py',
    '../../../_base_/runtime.py',
]

num_classes = 10

model = dict(roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)))
