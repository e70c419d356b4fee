"""Dense heads: predictions for every prior of a feature pyramid."""

from .single_shot_head import SingleShotHead
from .yolo_iou_head import YOLOIoUHead

__all__ = ['SingleShotHead', 'YOLOIoUHead']
