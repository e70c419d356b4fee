"""The log: "fpn1(网络未变化 flip, no drop, cls_weight=0.2)" (the network as it is).

As `fpn` with flips, and with images without objects.
"""

_base_ = './fpn.py'

train_dataloader = dict(
    dataset=dict(filter_cfg=dict(filter_empty_gt=False), pipeline={{_base_.train_pipeline}}),
)
