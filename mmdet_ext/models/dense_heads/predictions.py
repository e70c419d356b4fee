"""What both dense heads do before they pick detections."""

import sys
from collections.abc import Sequence

from mmdet.utils import OptConfigType
from mmengine.config import ConfigDict
from torch import Tensor

from .dense_maths import widen


def widen_all(maps: Sequence[Tensor]) -> list[Tensor]:
    """Float32 or wider: at 1333 pixels a float16 box is one pixel off, and NMS on a CPU takes none."""
    return [widen(x) for x in maps]


def all_candidates(cfg: OptConfigType, owner: str) -> ConfigDict:
    """The test config, with a number where `nms_pre` says -1, all: mmdet cuts a list at -1 there and loses the last.

    Raises:
        ValueError: there is no test config.
    """
    if cfg is None:
        raise ValueError(f'{owner}: prediction needs test_cfg, such as dict(score_thr=0.05, nms=..., max_per_img=100)')
    cfg = ConfigDict(cfg)
    if cfg.get('nms_pre', -1) <= 0:
        cfg.nms_pre = sys.maxsize
    return cfg
