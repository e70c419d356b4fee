"""The log: "转换好的pretrained_resnet50dcn，取 obj_threshold=0.05、top_k=100 的话，结果是 ... = 0.208" (the converted
weights, with a score threshold of 0.05 and 100 detections).

The detector that all rows start from. Its weights were converted from YOLACT++ and do not fit other code, so they are
trained here: from ImageNet, the 55 epochs of mmdet's YOLACT, OHEM.
"""

_base_ = './_base_/yolact.py'

max_epochs = 55
optim_wrapper = dict(optimizer=dict(lr=1e-3))
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=[20, 42, 49, 52], gamma=0.1),
]
