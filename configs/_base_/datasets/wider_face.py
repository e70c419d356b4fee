"""WIDER FACE (http://shuoyang1213.me/WIDERFACE) with the five landmarks of RetinaFace's label file for training.

Below `data_root`: the official WIDER_train/images, WIDER_val/images, wider_face_split and eval_tools, and RetinaFace's
label files as retinaface_gt_v1.1 (https://github.com/deepinsight/insightface, detection/retinaface). Without landmarks,
the label file for training is wider_face_split/wider_face_train_bbx_gt.txt.
"""

data_root = '{{$MMDET_EXT_WIDERFACE:data/WIDERFace}}/'
train_size = 640
min_face_size = 16
test_scale = (1333, 800)
pad_color = (104, 116, 124)  # ImageNet's mean, BGR
batch_size = 8
num_workers = 4

metainfo = dict(classes=('face',))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLandmarkAnnotations'),
    dict(type='FaceRandomCrop', train_size=train_size, min_size=min_face_size, pad_val=pad_color),
    dict(type='LandmarkResize', scale=(train_size, train_size), keep_ratio=True),
    dict(type='LandmarkRandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackLandmarkInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LandmarkResize', scale=test_scale, keep_ratio=True),
    dict(type='LoadLandmarkAnnotations'),
    dict(type='PackLandmarkInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='WiderFaceLandmarkDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='retinaface_gt_v1.1/train/label.txt',
        data_prefix=dict(img='WIDER_train/images/'),
        filter_cfg=dict(filter_empty_gt=True),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='WiderFaceLandmarkDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='wider_face_split/wider_face_val_bbx_gt.txt',
        data_prefix=dict(img='WIDER_val/images/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='WiderFaceMetric', settings=data_root + 'eval_tools/ground_truth')
test_evaluator = val_evaluator
