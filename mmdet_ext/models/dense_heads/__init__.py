"""Dense heads: predictions for every prior of a feature pyramid."""

from .retina_face_head import RetinaFaceHead
from .single_shot_head import SingleShotHead
from .yolo_iou_head import YOLOIoUHead

__all__ = ['RetinaFaceHead', 'SingleShotHead', 'YOLOIoUHead']
