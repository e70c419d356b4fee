"""The data of the experiments, and how the log measures: mAP at IoU 0.01 and at IoU 0.5, beside COCO's.

The pictures come with the boxes of their anatomical parts, which rows without part relations ignore. Of the two
pipelines for training the first is the default.
"""

_base_ = '../../../_base_/datasets/chest_phantom_parts.py'

data_root = '{{$MMDET_EXT_CHEST_PHANTOM:data/chest_phantom}}/'
part_names = ('left lung', 'right lung', 'heart', 'left scapula', 'right scapula')

no_flip_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadParts', part_file=data_root + 'annotations/parts_train.json', part_names=part_names),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale={{_base_.img_scale}}, keep_ratio=True),
    dict(type='PackPartInputs'),
]

coco_metric = dict(type='CocoMetric', ann_file=data_root + 'annotations/val.json', metric='bbox', classwise=True)
log_metric = dict(type='CocoIoUMetric', ann_file=data_root + 'annotations/val.json', metric='bbox')
val_evaluator = [
    coco_metric,
    dict(prefix='iou01', iou_thrs=[0.01], **log_metric),
    dict(prefix='iou50', iou_thrs=[0.5], **log_metric),
]
test_evaluator = val_evaluator
