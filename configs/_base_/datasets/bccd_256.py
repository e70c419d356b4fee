"""Blood cells at 256 px, for comparisons of many short runs on a CPU."""

_base_ = './bccd.py'

img_scale = (256, 192)
num_workers = 0
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
workers = dict(num_workers=num_workers, persistent_workers=False)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline), **workers)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline), **workers)
test_dataloader = dict(dataset=dict(pipeline=test_pipeline), **workers)
