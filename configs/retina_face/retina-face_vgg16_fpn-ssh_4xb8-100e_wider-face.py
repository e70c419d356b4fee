"""RetinaFace with VGG-16 on WIDER FACE with landmarks.

mmdet's `SSDVGG` gives conv4_3 (stride 8) and fc7 (stride 16); the neck adds stride 32.
"""

_base_ = './retina-face_r18_fpn-ssh_4xb8-100e_wider-face.py'

model = dict(
    data_preprocessor=dict(mean=[123.675, 116.28, 103.53], std=[1, 1, 1]),
    backbone=dict(
        _delete_=True,
        type='SSDVGG',
        depth=16,
        with_last_pool=False,
        ceil_mode=True,
        out_indices=(3, 4),
        out_feature_indices=(22, 34),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://vgg16_caffe'),
    ),
    neck=dict(in_channels=[512, 1024], add_extra_convs='on_input'),
)
