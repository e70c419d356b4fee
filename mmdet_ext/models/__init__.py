"""Modules that register themselves in mmdet's registries on import."""

from . import backbones, dense_heads, losses, necks, relations, roi_heads, task_modules, test_time_augs

__all__ = ['backbones', 'dense_heads', 'losses', 'necks', 'relations', 'roi_heads', 'task_modules', 'test_time_augs']
