"""Which prior learns which ground truth."""

from .yolo_assigner import YOLOAssigner

__all__ = ['YOLOAssigner']
