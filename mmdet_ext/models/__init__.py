"""Modules that register themselves in mmdet's registries on import."""

from . import relations, roi_heads

__all__ = ['relations', 'roi_heads']
