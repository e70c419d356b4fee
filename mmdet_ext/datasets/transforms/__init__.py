"""Transforms of the data pipeline."""

from .load_parts import LoadParts
from .pack_part_inputs import PackPartInputs

__all__ = ['LoadParts', 'PackPartInputs']
