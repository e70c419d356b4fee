"""Hooks, registered in mmdet's registry."""

from .dataset_check_hook import DatasetCheckHook
from .random_state_hook import RandomStateHook

__all__ = ['DatasetCheckHook', 'RandomStateHook']
