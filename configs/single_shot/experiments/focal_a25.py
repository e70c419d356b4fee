"""The log: "改用focal_loss训练稳定之后（focal_loss_alpha=0.25，focal_loss_gamma=2）" (after training with focal loss
had become steady).

Goes on from `ohem` with focal loss over all negatives.
"""

_base_ = './ohem.py'

load_from = 'work_dirs/ohem/epoch_5.pth'
train_cfg = dict(max_epochs=4)
model = dict(bbox_head=dict(loss_cls=dict(_delete_=True, type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25)))
