"""RetinaFace with ResNet-50 on WIDER FACE with landmarks: 256 channels, ImageNet weights, 840 px."""

_base_ = './retina-face_r18_fpn-ssh_4xb8-100e_wider-face.py'

channels = 256
train_size = 840
min_face_size = 16
pad_color = (104, 116, 124)

model = dict(
    backbone=dict(depth=50, init_cfg=dict(checkpoint='torchvision://resnet50')),
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
