"""The log: "继续训练，还是没有提升 step1087100-ep075-loss3.346.pd" (trained on, still no better).

One epoch more of `ghm_c`.
"""

_base_ = './ghm_c.py'

load_from = 'work_dirs/ghm_c/epoch_1.pth'
