"""RetinaFace with MobileNet-0.25 on WIDER FACE with landmarks: the small one, 250 epochs from scratch at 640 px."""

_base_ = [
    '../_base_/models/retina-face_mnet025_fpn-ssh.py',
    '../_base_/datasets/wider_face.py',
    '../_base_/schedules/retina_face_sgd.py',
    '../_base_/runtime.py',
]

max_epochs = 250
milestones = [190, 220]

train_cfg = dict(max_epochs=max_epochs)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=1000),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=max_epochs, milestones=milestones, gamma=0.1),
]

visualizer = dict(type='LandmarkLocalVisualizer')
