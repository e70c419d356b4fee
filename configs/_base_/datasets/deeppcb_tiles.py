r"""Defects of circuit boards in tiles of 256 px at full resolution, small enough for a CPU.

The tiles are made of the whole boards of `deeppcb.py`:

    python tools/dataset_tools/slice_coco.py data/deeppcb/annotations/train.json data/deeppcb \
      -o data/deeppcb_tiles --tile 256
    python tools/dataset_tools/slice_coco.py data/deeppcb/annotations/val.json data/deeppcb \
      -o data/deeppcb_tiles --tile 256 --keep-empty
"""

data_root = '{{$MMDET_EXT_DEEPPCB_TILES:data/deeppcb_tiles}}/'
img_scale = (256, 256)
batch_size = 8
num_workers = 2

metainfo = dict(classes=('open', 'short', 'mousebite', 'spur', 'copper', 'pin-hole'))

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
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/train.json',
        data_prefix=dict(img=''),
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
        type='CocoDataset',
        metainfo=metainfo,
        data_root=data_root,
        ann_file='annotations/val.json',
        data_prefix=dict(img=''),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox', classwise=True)
test_evaluator = val_evaluator
