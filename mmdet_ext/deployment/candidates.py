"""Post-processing of detectors in tensors whose sizes do not depend on data: thresholds, top-k and NMS of a batch.

mmdet picks candidates by boolean masks, image by image. Here a candidate that is out has the score `ABSENT`, and every
image has as many rows: what is picked is the same.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ABSENT = -1.0


@dataclass
class Candidates:
    """M rows of each of B images.

    boxes: (B, M, 4) xyxy in input pixels.
    scores: (B, M), `ABSENT` where a row holds nothing.
    labels: (B, M) int64.
    extras: more of every row by name, (B, M, ...).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    extras: dict[str, Tensor] = field(default_factory=dict)

    def take(self, index: Tensor, scores: Tensor) -> 'Candidates':
        """Rows (B, K) of every image, with these scores (B, K)."""
        extras = {name: take_rows(rows, index) for name, rows in self.extras.items()}
        return Candidates(take_rows(self.boxes, index), scores, self.labels.gather(1, index), extras)

    def keep(self, mask: Tensor) -> 'Candidates':
        """Without the rows where the mask (B, M) is False."""
        return replace(self, scores=torch.where(mask, self.scores, ABSENT))


def take_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Rows (B, K, ...) of (B, M, ...) by index (B, K)."""
    shape = (*index.shape, *rows.shape[2:])
    return rows.gather(1, index.view(*index.shape, *[1] * (rows.ndim - 2)).expand(shape))


def concatenate(parts: list[Candidates]) -> Candidates:
    """The rows of one after those of the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Candidates(
        torch.cat([part.boxes for part in parts], dim=1),
        torch.cat([part.scores for part in parts], dim=1),
        torch.cat([part.labels for part in parts], dim=1),
        {name: torch.cat([part.extras[name] for part in parts], dim=1) for name in first.extras},
    )


def highest(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The `number` highest scores (B, K) of (B, M), and where they are; what is missing is `ABSENT` and at 0.

    Where M is a symbol of `torch.export`, K is `number`, whatever M turns out to be; else K is not above M.
    """
    size = scores.shape[1]
    if isinstance(size, int):
        return scores.topk(min(number, size), dim=1)
    best, index = F.pad(scores, (0, number), value=ABSENT).topk(number, dim=1)
    return best, torch.where(best > ABSENT, index, 0)


def best_classes(scores: Tensor, number: int, score_thr: float | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """The best pairs of row and class of every image, as mmdet's `filter_scores_and_topk`.

    Args:
        scores: (B, M, C).
        number: most pairs of an image.
        score_thr: pairs of scores that are not above are absent; None: all are there.

    Returns:
        Scores, labels and rows, (B, K) each.
    """
    classes = scores.shape[2]
    flat = scores.flatten(1)
    if score_thr is not None:
        flat = torch.where(flat > score_thr, flat, ABSENT)
    best, index = highest(flat, number)
    return best, index % classes, torch.div(index, classes, rounding_mode='floor')


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """(..., 4) boxes xyxy inside of the image."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack([x1.clamp(0, width), y1.clamp(0, height), x2.clamp(0, width), y2.clamp(0, height)], dim=-1)


def check_nms(cfg: Any, owner: str) -> None:
    """Raise a `ValueError` unless this is the greedy NMS of mmcv, with options that ONNX has."""
    cfg = dict(cfg or {})
    allowed = {'type', 'iou_threshold', 'class_agnostic', 'split_thr', 'max_num'}
    # Options at their defaults change nothing.
    given = {key for key, value in cfg.items() if (key, value) not in (('offset', 0), ('score_threshold', 0))}
    if cfg.get('type', 'nms') != 'nms' or 'iou_threshold' not in cfg or not given <= allowed:
        raise ValueError(
            f"{owner}: nms={cfg} cannot be exported, ONNX has greedy NMS only: set nms=dict(type='nms', "
            'iou_threshold=...) in test_cfg'
        )


def suppress(found: Candidates, nms: Any, max_num: int, min_size: float = -1) -> Candidates:
    """What remains of the candidates after NMS inside of every label, by falling score.

    As mmcv's `batched_nms`, labels are told apart by moving the boxes of each by more than the image is wide.

    Args:
        found: the candidates.
        nms: see :func:`check_nms`; `class_agnostic=True` suppresses across labels.
        max_num: most boxes of an image; 0 or less: all.
        min_size: boxes whose width or height is not above are left out, -1: none is.
    """
    if min_size >= 0:
        width, height = (found.boxes[..., 2:] - found.boxes[..., :2]).unbind(-1)
        found = found.keep((width > min_size) & (height > min_size))
    there = found.scores > ABSENT
    boxes = found.boxes
    if not nms.get('class_agnostic', False):
        largest = torch.where(there[..., None], boxes, 0).flatten(1).amax(1)
        boxes = boxes + (found.labels.to(boxes.dtype) * (largest[:, None] + 1))[..., None]
    limit = nms.get('max_num', -1)
    number = min([value for value in (max_num, limit) if value > 0], default=-1)
    most = number if number > 0 else torch.iinfo(torch.int32).max
    kept = torch.ops.mmdet_ext.nms_mask(boxes, found.scores, float(nms['iou_threshold']), ABSENT / 2, most)
    scores = torch.where(kept, found.scores, ABSENT)
    best, index = highest(scores, number) if number > 0 else scores.sort(dim=1, descending=True)
    return found.take(index, best)
