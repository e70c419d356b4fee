"""What the dense heads do before they pick detections."""

import sys
from collections.abc import Mapping, Sequence

import torch
from mmdet.models.utils import filter_scores_and_topk
from mmdet.utils import OptConfigType
from mmengine.config import ConfigDict
from torch import Tensor

from .dense_maths import widen
from .gt_checks import image_name


def widen_all(maps: Sequence[Tensor]) -> list[Tensor]:
    """Float32 or wider: at 1333 pixels a float16 box is one pixel off, and NMS on a CPU takes none."""
    return [widen(x) for x in maps]


def prediction_config(cfg: OptConfigType, metas: Sequence[Mapping], rescale: bool, owner: str) -> ConfigDict:
    """The test config, with a number where `nms_pre` says -1, all: mmdet cuts a list at -1 there and loses the last.

    Args:
        cfg: of the head, or of the call.
        metas: of each image.
        rescale: whether detections are scaled back, which mmdet's heads end in an assert without a scale.
        owner: whose prediction it is.

    Raises:
        ValueError: there is no test config, or an image without `scale_factor` is to be scaled back.
    """
    lacking = [image_name(meta) for meta in metas if rescale and meta.get('scale_factor') is None]
    if lacking:
        raise ValueError(
            f'{owner}: {lacking[0]} has no scale_factor to scale its detections back by: add Resize to the test '
            'pipeline and scale_factor to the meta_keys of its packing'
        )
    if cfg is None:
        raise ValueError(f'{owner}: prediction needs test_cfg, such as dict(score_thr=0.05, nms=..., max_per_img=100)')
    cfg = ConfigDict(cfg)
    if cfg.get('nms_pre', -1) <= 0:
        cfg.nms_pre = sys.maxsize
    return cfg


def best_of_levels(
    scores: Sequence[Tensor], rows: Sequence[Mapping[str, Tensor]], cfg: ConfigDict
) -> dict[str, Tensor]:
    """The candidates of one image, picked as mmdet's heads pick them, with whatever belongs to them.

    Args:
        scores: per level (n, C), every class of a prior is a candidate.
        rows: per level what the priors have beside scores, (n, ...) each, the same names on every level.
        cfg: `score_thr`, above which scores are candidates, and `nms_pre`, how many of a level at most.

    Returns:
        `scores` (m,), `labels` (m,) and the rows (m, ...), one level after the other.
    """
    levels = []
    for own, others in zip(scores, rows, strict=True):
        best, labels, _, kept = filter_scores_and_topk(own, cfg.get('score_thr', 0), cfg.nms_pre, dict(others))
        levels.append(dict(scores=best, labels=labels, **kept))
    return {name: torch.cat([level[name] for level in levels]) for name in levels[0]}
