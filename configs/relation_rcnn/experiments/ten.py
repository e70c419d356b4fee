"""The log: "ten 直接fintune: mAP50:--.-- mAP1:--.-- 512box 512box" (plain fine-tuning; never measured).

The control of all rows that start from `original`: the same schedule again, no relation.
"""

_base_ = './_base_/c4.py'

load_from = 'work_dirs/original/epoch_8.pth'
