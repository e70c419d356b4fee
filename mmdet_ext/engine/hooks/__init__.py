"""Hooks, registered in mmdet's registry."""

from .dataset_check_hook import DatasetCheckHook
from .random_state_hook import RandomStateHook
from .relation_visualization_hook import RelationVisualizationHook
from .run_record_hook import RunRecordHook

__all__ = ['DatasetCheckHook', 'RandomStateHook', 'RelationVisualizationHook', 'RunRecordHook']
