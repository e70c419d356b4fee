"""mAP at other IoU thresholds."""

import json

import numpy as np
import pytest
import torch

from mmdet_ext.evaluation import CocoIoUMetric

BOXES = ((0, 0, 10, 10), (20, 20, 10, 10))


@pytest.fixture
def annotations(tmp_path):
    """An image with two boxes of a class."""
    path = tmp_path / 'ann.json'
    common = dict(image_id=1, category_id=1, area=100, iscrowd=0)
    data = {
        'images': [dict(id=1, width=40, height=40, file_name='1.png')],
        'categories': [dict(id=1, name='thing')],
        'annotations': [dict(id=k + 1, bbox=list(box), **common) for k, box in enumerate(BOXES)],
    }
    path.write_text(json.dumps(data))
    return str(path)


def evaluate(annotations, width, **options):
    """The same boxes, but only so wide."""
    metric = CocoIoUMetric(ann_file=annotations, metric='bbox', **options)
    metric.dataset_meta = dict(classes=('thing',))
    boxes = np.array([[x, y, x + width, y + h] for x, y, _, h in BOXES], dtype=np.float32)
    found = dict(bboxes=boxes, scores=np.ones(2, np.float32), labels=np.zeros(2, int))
    found = {name: torch.from_numpy(value) for name, value in found.items()}
    metric.process({}, [dict(img_id=1, ori_shape=(40, 40), pred_instances=found)])
    return metric.evaluate(size=1)


@pytest.mark.parametrize(
    ('iou_thrs', 'width', 'expected'),
    [([0.01], 2, 1), ([0.01], 0.05, 0), ([0.5], 4, 0), ([0.5], 6, 1), ([0.01, 0.5], 4, 0.5), ((0.25, 0.35), 3, 0.5)],
)
def test_thresholds(annotations, iou_thrs, width, expected):
    assert evaluate(annotations, width, iou_thrs=iou_thrs, prefix='own') == {'own/bbox_mAP': expected}


def test_other_items(annotations):
    scores = evaluate(annotations, 6, iou_thrs=[0.5], metric_items=['mAP', 'mAP_50'])
    assert scores == {'coco/bbox_mAP': 1, 'coco/bbox_mAP_50': 1}
    assert len(evaluate(annotations, 6, iou_thrs=[0.5], metric_items=None)) == 6


@pytest.mark.parametrize('iou_thrs', [0.5, [], [0], [1.5], ['0.5'], None])
def test_bad_thresholds(annotations, iou_thrs):
    with pytest.raises(ValueError, match='iou_thrs must be a list of numbers 0 < IoU <= 1'):
        CocoIoUMetric(iou_thrs, ann_file=annotations)
