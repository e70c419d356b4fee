"""Around the Runner: hooks (registered here), and the launchers, options and checkpoints behind `tools/`."""

from . import hooks

__all__ = ['hooks']
