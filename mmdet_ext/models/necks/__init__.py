"""Necks: feature pyramids between backbone and head."""

from .fpn_ssh import FPNSSH

__all__ = ['FPNSSH']
