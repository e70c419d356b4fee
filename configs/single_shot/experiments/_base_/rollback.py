"""Row 5 rolled back to: its checkpoint, a fresh optimizer, one epoch more. The log's runs from there are 6 000 to 21
000 steps, 0.4 to 1.4 epochs.
"""

_base_ = '../iou_50_40.py'

load_from = 'work_dirs/iou_50_40/epoch_5.pth'
train_cfg = dict(max_epochs=1)
