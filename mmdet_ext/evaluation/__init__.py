"""Metrics, registered in mmdet's registry."""

from .coco_iou_metric import CocoIoUMetric

__all__ = ['CocoIoUMetric']
