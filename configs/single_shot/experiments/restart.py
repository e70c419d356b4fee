"""The log: "后来我重新从pretrained_resnet50dcn开始训练，选择ce_loss作为conf_loss，学习率是0.0001，批大小是8，
pos_threshold = 0.5，neg_threshold = 0.4 只需要再训练30000步mAP就能到30%左右" (again from the pretrained weights: 30 000
steps are enough for about 30 %).

As `iou_50_40`, but straight from `pretrained`: 2 epochs of COCO are 29 300 steps.
"""

_base_ = './iou_50_40.py'

load_from = 'work_dirs/pretrained/epoch_55.pth'
train_cfg = dict(max_epochs=2)
