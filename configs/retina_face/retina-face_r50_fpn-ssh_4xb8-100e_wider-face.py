"""RetinaFace with ResNet-50 on WIDER FACE with landmarks: 256 channels, ImageNet weights, 840 px."""

_base_ = [
    '../_base_/models/retina-face_mnet025_fpn-ssh.py',
    '../_base_/datasets/wider_face.py',
    '../_base_/schedules/retina_face_sgd.py',
    '../_base_/runtime.py',
]

channels = 256
train_size = 840
min_face_size = 16
pad_color = (104, 116, 124)

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True),
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50'),
    ),
    neck=dict(in_channels=[512, 1024, 2048], out_channels=channels),
    bbox_head=dict(in_channels=channels),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLandmarkAnnotations'),
    dict(type='FaceRandomCrop', train_size=train_size, min_size=min_face_size, pad_val=pad_color),
    dict(type='LandmarkResize', scale=(train_size, train_size), keep_ratio=True),
    dict(type='LandmarkRandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackLandmarkInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

visualizer = dict(type='LandmarkLocalVisualizer')
