"""Phase 2 of two: the whole detector, on all images, from the RPN of phase 1."""

_base_ = './faster-rcnn_r18-gn_fpn_600i_chest-phantom-noisy.py'

load_from = 'work_dirs/rpn_r18-gn_fpn_600i_chest-phantom-screened/iter_600.pth'
