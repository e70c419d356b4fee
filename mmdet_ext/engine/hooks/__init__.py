"""Hooks, registered in mmdet's registry."""

from .activation_stats_hook import ActivationStatsHook
from .channels_last_hook import ChannelsLastHook
from .dataset_check_hook import DatasetCheckHook
from .durable_checkpoint_hook import DurableCheckpointHook
from .gradient_balance_hook import GradientBalanceHook
from .loss_alarm_hook import LossAlarmHook
from .loss_monitor_hook import LossMonitorHook
from .loss_scope_hook import LossScopeHook
from .memory_trace_hook import MemoryTraceHook
from .proposal_record_hook import ProposalRecordHook
from .random_state_hook import RandomStateHook
from .relation_visualization_hook import RelationVisualizationHook
from .run_record_hook import RunRecordHook

__all__ = [
    'ActivationStatsHook',
    'ChannelsLastHook',
    'DatasetCheckHook',
    'DurableCheckpointHook',
    'GradientBalanceHook',
    'LossAlarmHook',
    'LossMonitorHook',
    'LossScopeHook',
    'MemoryTraceHook',
    'ProposalRecordHook',
    'RandomStateHook',
    'RelationVisualizationHook',
    'RunRecordHook',
]
