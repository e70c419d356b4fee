"""Synthetic faces with landmarks, `python tools/dataset_tools/make_face_phantom.py --out data/face_phantom`."""

data_root = '{{$MMDET_EXT_FACE_PHANTOM:data/face_phantom}}/'
img_scale = (256, 256)
batch_size = 8
num_workers = 0

metainfo = dict(
    classes=('face',),
    # A list, for mmengine takes a string in metainfo for the name of a file.
    source=['python tools/dataset_tools/make_face_phantom.py --out data/face_phantom'],
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLandmarkAnnotations'),
    dict(type='LandmarkResize', scale=img_scale, keep_ratio=True),
    dict(type='LandmarkRandomFlip', prob=0.5),
    dict(type='PackLandmarkInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LandmarkResize', scale=img_scale, keep_ratio=True),
    dict(type='LoadLandmarkAnnotations'),
    dict(type='PackLandmarkInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoLandmarkDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img='images/train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=False,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoLandmarkDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_ann_file = data_root + 'annotations/val.json'
val_evaluator = [
    dict(type='CocoMetric', ann_file=val_ann_file, metric='bbox'),
    # Some pictures have no face, only things that look like one: what is found there is wrong.
    dict(type='WiderFaceMetric', ann_file=val_ann_file, empty_images='count'),
]
test_evaluator = val_evaluator
