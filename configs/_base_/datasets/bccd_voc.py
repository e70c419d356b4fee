"""Blood cells (https://github.com/Shenggan/BCCD_Dataset, MIT), read from the VOC xml files they come with."""

data_root = '{{$MMDET_EXT_BCCD:data/bccd}}/'
img_scale = (320, 240)
batch_size = 8
num_workers = 2

metainfo = dict(classes=('RBC', 'WBC', 'Platelets'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VOCDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='BCCD/ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root='BCCD/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VOCDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='BCCD/ImageSets/Main/val.txt',
        data_prefix=dict(sub_data_root='BCCD/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VOCDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='BCCD/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='BCCD/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)

val_evaluator = dict(type='VOCMetric', metric='mAP', eval_mode='area')
test_evaluator = val_evaluator
