"""RetinaFace with ResNet-18 on WIDER FACE with landmarks: 64 channels, ImageNet weights."""

_base_ = [
    '../_base_/models/retina-face_mnet025_fpn-ssh.py',
    '../_base_/datasets/wider_face.py',
    '../_base_/schedules/retina_face_sgd.py',
    '../_base_/runtime.py',
]

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[128, 256, 512]),
)

visualizer = dict(type='LandmarkLocalVisualizer')
