"""Modules that register themselves in mmdet's registries on import."""

from . import dense_heads, losses, relations, roi_heads, task_modules

__all__ = ['dense_heads', 'losses', 'relations', 'roi_heads', 'task_modules']
