"""ChestX-Det (https://github.com/Deepwise-AILab/ChestX-Det-Dataset), json of tools/dataset_tools/chestxdet2coco.py.

It has no validation split: its test split is used for both.
"""

data_root = '{{$MMDET_EXT_CHESTX_DET:data/chestx_det}}/'
img_scale = (1024, 1024)
batch_size = 2
num_workers = 2

metainfo = dict(
    classes=(
        'Atelectasis',
        'Calcification',
        'Cardiomegaly',
        'Consolidation',
        'Diffuse Nodule',
        'Effusion',
        'Emphysema',
        'Fibrosis',
        'Fracture',
        'Mass',
        'Nodule',
        'Pleural Thickening',
        'Pneumothorax',
    ),
    source=[
        'pictures and json are at https://github.com/Deepwise-AILab/ChestX-Det-Dataset,',
        'and tools/dataset_tools/chestxdet2coco.py writes the annotations of this config',
    ],
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
    persistent_workers=True,
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
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/test.json',
        data_prefix=dict(img='images/test/'),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/test.json', metric='bbox', classwise=True)
test_evaluator = val_evaluator
