"""Losses, registered in mmdet's registry."""

from .complete_iou_loss import CompleteIoULoss, complete_iou_loss
from .ghm_loss import GHMCLoss, GHMRLoss, ghm_c_loss, ghm_r_loss
from .ohem_loss import OHEMLoss

__all__ = ['CompleteIoULoss', 'GHMCLoss', 'GHMRLoss', 'OHEMLoss', 'complete_iou_loss', 'ghm_c_loss', 'ghm_r_loss']
