"""The log: "two 对所有类建立图关系，增加背景类，从 original 进行finetue" (graph of all classes and background,
fine-tuned from original; no figures in the log).

Just the category relation as it stands in the base.
"""

_base_ = './_base_/own_category.py'
