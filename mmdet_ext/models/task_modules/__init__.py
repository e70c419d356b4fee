"""Parts of detectors that hold no weights, registered in `TASK_UTILS`."""

from . import assigners, coders

__all__ = ['assigners', 'coders']
