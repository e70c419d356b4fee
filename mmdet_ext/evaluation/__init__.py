"""Metrics, registered in mmdet's registry."""

from .coco_iou_metric import CocoIoUMetric
from .fast_coco_metric import FastCocoMetric
from .landmark_nme import LandmarkNME
from .rpn_recall_metric import RPNRecallMetric
from .wider_face_metric import WiderFaceMetric

__all__ = ['CocoIoUMetric', 'FastCocoMetric', 'LandmarkNME', 'RPNRecallMetric', 'WiderFaceMetric']
