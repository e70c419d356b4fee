r"""Defects of circuit boards in tiles of 256 px at full resolution, small enough for a CPU.

The tiles are made of the whole boards of `deeppcb.py`:

    python tools/dataset_tools/slice_coco.py data/deeppcb/annotations/train.json data/deeppcb \
      -o data/deeppcb_tiles --tile 256
    python tools/dataset_tools/slice_coco.py data/deeppcb/annotations/val.json data/deeppcb \
      -o data/deeppcb_tiles --tile 256 --keep-empty
"""

_base_ = 'deeppcb.py'

data_root = '{{$MMDET_EXT_DEEPPCB_TILES:data/deeppcb_tiles}}/'
img_scale = (256, 256)
batch_size = 8

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
train_dataloader = dict(batch_size=batch_size, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(batch_size=batch_size, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
