"""RetinaFace with MobileNet-0.25 where a face matches anchors from IoU 0.5 on, and 0.4 to 0.5 is ignored."""

_base_ = './retina-face_mnet025_fpn-ssh_4xb8-250e_wider-face.py'

model = dict(train_cfg=dict(assigner=dict(pos_iou_thr=0.5, neg_iou_thr=0.4)))
