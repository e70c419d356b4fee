"""The chest phantom with the boxes of its anatomical parts, for training and testing."""

_base_ = 'chest_phantom.py'

data_root = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/'
part_names = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadParts', part_file=data_root + 'annotations/parts_train.json', part_names=part_names),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackPartInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadParts', part_file=data_root + 'annotations/parts_val.json', part_names=part_names),
    dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackPartInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
