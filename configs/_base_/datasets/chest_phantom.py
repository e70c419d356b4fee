"""Synthetic chest radiographs, `python tools/dataset_tools/make_chest_phantom.py --out data/chest_phantom`."""

data_root = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/'
img_scale = (160, 160)
batch_size = 8
num_workers = 0

metainfo = dict(
    classes=(
        'nodule',
        'multiple nodules',
        'diffuse nodules',
        'cavity',
        'fibrosis',
        'atelectasis',
        'consolidation',
        'tuberculosis',
        'mass',
        'pleural effusion',
    ),
    # A list, for mmengine takes a string in metainfo for the name of a file.
    source=['python tools/dataset_tools/make_chest_phantom.py --out data/chest_phantom'],
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=False,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='CocoDataset',
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
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img='images/val/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox', classwise=True)
test_evaluator = val_evaluator
