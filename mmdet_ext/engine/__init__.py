"""Around the Runner: hooks and FSDP's strategy (registered here); launchers, options, checkpoints behind `tools/`."""

from . import hooks
from .sharded_strategy import ShardedStrategy

__all__ = ['ShardedStrategy', 'hooks']
