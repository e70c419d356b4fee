"""A training of seconds: a few small pictures, and a narrow detector that learns them."""

import json
from pathlib import Path

import cv2
import numpy as np


def make_tiny_coco(
    root: str | Path,
    n: int = 8,
    size: int = 64,
    classes: tuple[str, ...] = ('a', 'b'),
    seed: int = 0,
) -> dict[str, str]:
    """Write `images/*.png` with one bright box per picture, and `ann.json` beside it.

    Args:
        root: Directory to write into.
        n: Number of pictures.
        size: Width and height in pixels.
        classes: Category names; picture i shows class i modulo their number.
        seed: Of noise and boxes.

    Returns:
        `root`, `images` (directory) and `ann` (file), as strings.
    """
    root = Path(root)
    (root / 'images').mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for index in range(n):
        picture = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
        w, h = (int(v) for v in rng.integers(size // 4, size // 2, 2))
        x, y = (int(rng.integers(0, size - side)) for side in (w, h))
        label = index % len(classes)
        picture[y : y + h, x : x + w, label % 3] = 220
        cv2.imwrite(str(root / 'images' / f'{index}.png'), picture)
        images.append({'id': index, 'file_name': f'{index}.png', 'width': size, 'height': size})
        corners = [x, y, x + w, y, x + w, y + h, x, y + h]
        box = {'bbox': [x, y, w, h], 'area': w * h, 'iscrowd': 0, 'segmentation': [corners]}
        annotations.append(dict(id=index + 1, image_id=index, category_id=label + 1, **box))
    categories = [{'id': index + 1, 'name': name} for index, name in enumerate(classes)]
    ann = root / 'ann.json'
    ann.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))
    return {'root': str(root), 'images': str(root / 'images'), 'ann': str(ann)}


_DATA = """
metainfo = dict(classes={classes!r})
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='RandomCrop', crop_size=(0.7, 0.7), crop_type='relative', allow_negative_crop=True),
    dict(type='Resize', scale=({size}, {size}), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=({size}, {size}), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size={batch_size}, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='CocoDataset', metainfo=metainfo, ann_file={ann!r}, data_prefix=dict(img={images!r}),
                 pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=2, num_workers=0, drop_last=False, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='CocoDataset', metainfo=metainfo, ann_file={ann!r}, data_prefix=dict(img={images!r}),
                 test_mode=True, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file={ann!r}, metric='bbox')
test_evaluator = val_evaluator
"""

_MODEL = """
custom_imports = dict(imports=['mmdet_ext'], allow_failed_imports=False)
default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', mean=[50.0] * 3, std=[60.0] * 3, pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=18, base_channels=8, out_indices=(2, 3), frozen_stages=-1,
                  norm_cfg=dict(type='GN', num_groups=4, requires_grad=True), norm_eval=False),
    neck=dict(type='FPN', in_channels=[32, 64], out_channels=16, num_outs=2),
    bbox_head=dict(
        type='RetinaHead', num_classes={num_classes}, in_channels=16, stacked_convs=1, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[2.0], ratios=[1.0], strides=[16, 32]),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        loss_cls=dict(type='FocalLoss', use_sigmoid=True, loss_weight=1.0),
        loss_bbox=dict(type='L1Loss', loss_weight=1.0)),
    train_cfg=dict(assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.4, neg_iou_thr=0.3, min_pos_iou=0),
                   sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5),
                  max_per_img=10))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs={epochs}, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.001))
param_scheduler = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=5)]
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='CheckpointHook', interval=1),
    visualization=dict(type='DetVisualizationHook'))
custom_hooks = [dict(type='RandomStateHook')]
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
               dist_cfg=dict(backend='nccl'))
vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(type='DetLocalVisualizer', vis_backends=vis_backends, name='visualizer')
log_processor = dict(type='LogProcessor', window_size=1, by_epoch=True)
randomness = dict(seed=1)
auto_scale_lr = dict(enable=False, base_batch_size=4)
"""


def data_config(
    paths: dict[str, str], classes: tuple[str, ...] = ('a', 'b'), size: int = 64, batch_size: int = 2
) -> str:
    """Text of a config's data part: random crop and flip for training, loaders and evaluators for all three splits."""
    return _DATA.format(
        classes=tuple(classes), size=size, batch_size=batch_size, ann=paths['ann'], images=paths['images']
    )


def tiny_config(paths: dict[str, str], classes: tuple[str, ...] = ('a', 'b'), epochs: int = 3, **data: int) -> str:
    """Text of a whole config: a RetinaNet with a narrow ResNet-18 on a tiny data set, with `RandomStateHook`."""
    return _MODEL.format(num_classes=len(classes), epochs=epochs) + data_config(paths, classes, **data)
