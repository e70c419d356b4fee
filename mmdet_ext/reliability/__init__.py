"""Proof that nothing saved is lost: trainings that are killed and starved, and files that are made to mislead."""

from .fault_hook import FaultHook

__all__ = ['FaultHook']
