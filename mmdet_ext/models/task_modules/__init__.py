"""Parts of detectors that hold no weights, registered in `TASK_UTILS`."""

from . import assigners

__all__ = ['assigners']
