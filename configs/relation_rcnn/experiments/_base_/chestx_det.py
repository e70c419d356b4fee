"""ChestX-Det with part boxes and the metrics of the log, to lay over any experiment:

python tools/train.py configs/relation_rcnn/experiments/sc.py \
    --dataset configs/relation_rcnn/experiments/_base_/chestx_det.py

The category graph is read from this data set's folder, under the name that it has in the experiment.
"""

_base_ = '../../../_base_/datasets/chestx_det_parts.py'

data_root = '{{$MMDET_EXT_CHESTX_DET:data/chestx_det}}/'

coco_metric = dict(type='CocoMetric', ann_file=data_root + 'annotations/test.json', metric='bbox', classwise=True)
log_metric = dict(type='CocoIoUMetric', ann_file=data_root + 'annotations/test.json', metric='bbox')
val_evaluator = [
    coco_metric,
    dict(prefix='iou01', iou_thrs=[0.01], **log_metric),
    dict(prefix='iou50', iou_thrs=[0.5], **log_metric),
]
test_evaluator = val_evaluator
