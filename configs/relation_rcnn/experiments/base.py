"""The log: "训练公开数据集 base 无级联box" (public data; no cascade), "与base区别 无肺纹理增多 而是肺结核" (in other
rows tuberculosis takes the place of increased lung markings in the list of classes).

Plain Mask R-CNN FPN. The log's public data were ChestX-Det, which `--dataset` lays over: see `_base_/chestx_det.py`.
"""

_base_ = './_base_/fpn.py'
