"""Embedded data, checks of data before they are trained on, and transforms (registered here)."""

from . import transforms

__all__ = ['transforms']
