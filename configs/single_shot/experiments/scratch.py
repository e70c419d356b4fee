"""The log: "2.26从头训练，希望能达到要求的精度。选择ce_loss作为conf_loss，学习率是0.0001，批大小是8，pos_threshold =
0.5，neg_threshold = 0.4。 待续。。。" (from scratch, in the hope of the accuracy that is wanted; to be continued).

The whole training of row 5's detector in one go, from ImageNet weights of the backbone, rate 1e-4. The log has no
figures of it; 55 epochs are YOLACT's.
"""

_base_ = './iou_50_40.py'

load_from = None
train_cfg = dict(max_epochs=55, val_interval=5)
