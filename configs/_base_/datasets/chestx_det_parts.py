"""ChestX-Det with the boxes of anatomical parts, made of part masks by `tools/dataset_tools/masks2parts.py`.

The data set has no part masks; those of a segmentation network for chest radiographs do, such as the PSPNet of
torchxrayvision (`xrv.baseline_models.chestx_det.PSPNet`).
"""

_base_ = './chestx_det.py'

data_root = '{{$MMDET_EXT_CHESTX_DET:data/chestx_det}}/'
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
    dict(type='LoadParts', part_file=data_root + 'annotations/parts_test.json', part_names=part_names),
    dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackPartInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
