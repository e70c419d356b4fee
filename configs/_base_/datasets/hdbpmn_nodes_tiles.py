r"""Nodes of hand-drawn process diagrams in tiles of 256 px, small enough for a CPU: `hdbpmn.py` without the edges.

The tiles are made of the whole pictures:

    python tools/dataset_tools/slice_coco.py data/hdbpmn/annotations/train.json data/hdbpmn \
      -o data/hdbpmn_tiles --long-side 512 --tile 256
    python tools/dataset_tools/slice_coco.py data/hdbpmn/annotations/val.json data/hdbpmn \
      -o data/hdbpmn_tiles --long-side 512 --tile 256 --keep-empty

The annotations keep the edges (association, dataAssociation, messageFlow, sequenceFlow); the classes here leave them
out. Leave `ignore_iof_thr` of assigners at mmdet's -1: above 0, all that stands in a cut pool would be ignored, too.
"""

_base_ = 'hdbpmn.py'

data_root = '{{$MMDET_EXT_HDBPMN_TILES:data/hdbpmn_tiles}}/'
img_scale = (256, 256)
batch_size = 8

metainfo = dict(
    classes=(
        'dataObject',
        'dataStore',
        'endEvent',
        'exclusiveGateway',
        'intermediateEvent',
        'lane',
        'parallelGateway',
        'pool',
        'startEvent',
        'task',
        'textAnnotation',
        'other',
    )
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='RandomFlip', prob=0.0),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=batch_size, dataset=dict(metainfo=metainfo, data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = dict(
    batch_size=batch_size, dataset=dict(metainfo=metainfo, data_root=data_root, pipeline=test_pipeline)
)
test_dataloader = val_dataloader

val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
