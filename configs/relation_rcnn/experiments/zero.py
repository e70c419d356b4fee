"""The log: "zero 所有类频数统计 从头训练" (category graph of all classes by frequency, from scratch; no mAP in the
log, but losses).

The category relation without the checkpoint of `original`.
"""

_base_ = './_base_/own_category.py'

load_from = None
