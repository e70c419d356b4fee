"""What the diagnosis notes about one image, and the file it is kept in: all later steps read records, not the model."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmdet_ext.evaluation.objects import Objects

SCORE_BINS = 20
"""Bins of the histograms of scores, of equal width from 0 to 1."""
PLACES = ('positive', 'negative', 'ignored')


@dataclass(frozen=True)
class StageRecord:
    """What one head has made of the image: which of its priors (or RoIs) are for which object, and their scores.

    Boxes are xyxy in pixels of the image file. G objects as in `ImageRecord.truth`, L levels.

    Attributes:
        kind: Whether the head starts from priors on a grid or from RoIs.
        assigned: (3,) number of priors that are positive, negative, ignored, before any sampling.
        sampled: (2,) number of positives and negatives the losses see.
        histograms: (3, SCORE_BINS) priors by their highest foreground score, one row each for positives, negatives and
            ignored.
        gt_positives: (G,) number of positives of each object.
        gt_iou: (G,) highest overlap of each object with any prior: what an assigner could find at best.
        level_priors: (L,) number of priors of each level; one level for RoIs.
        level_positives: (L,) number of positives among them.
        positives: (K, 4) positive priors, the first ones only.
        positive_gt: (K,) object of each.
        overlaps: (2,) mean overlap of all positives with their objects, before and after the head's regression; NaN
            without positives or where the head regresses no boxes.
    """

    kind: Literal['priors', 'rois']
    assigned: NDArray[np.int64]
    sampled: NDArray[np.int64]
    histograms: NDArray[np.int64]
    gt_positives: NDArray[np.int64]
    gt_iou: NDArray[np.float32]
    level_priors: NDArray[np.int64]
    level_positives: NDArray[np.int64]
    positives: NDArray[np.float32]
    positive_gt: NDArray[np.int64]
    overlaps: NDArray[np.float32]


@dataclass(frozen=True)
class ImageRecord:
    """One image of one split.

    Attributes:
        split: 'train' or 'val'.
        index: Place in the data set.
        img_id: As in the annotation file.
        file: Image file.
        fault: Why nothing could be noted (the image cannot be read, say); everything below is empty then.
        ori_shape: Height and width of the image file.
        input_shape: Height and width the model sees, without padding.
        digest: Hash of the decoded pixels.
        truth: Annotated objects in pixels of the image file.
        ignored: (I, 4) boxes of objects to be ignored.
        losses: Every loss term as in training, by its name; no sum.
        stages: By name of the head: 'rpn_head', 'bbox_head' or 'roi_head' (of a cascade 'roi_head.0' and so on).
        proposals: Boxes an RPN hands on, best first, labels 0; None without RPN.
        detections: As the config's `test_cfg` leaves them.
        raw: Detections before `score_thr`, NMS and `max_per_img` of the config have cut: scores from 0.001, boxes that
            overlap by more than 0.95 united, the best 1000.
        pixels: (2, 3) mean and standard deviation of each channel as the model sees it, padding left out.
        limits: Sentences about what could not be noted of this image, and why.
    """

    split: str
    index: int
    img_id: int | str
    file: str
    fault: str | None = None
    ori_shape: tuple[int, int] = (0, 0)
    input_shape: tuple[int, int] = (0, 0)
    digest: str = ''
    truth: Objects = field(default_factory=lambda: NOTHING)
    ignored: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    losses: Mapping[str, float] = field(default_factory=dict)
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    proposals: Objects | None = None
    detections: Objects = field(default_factory=lambda: NOTHING)
    raw: Objects = field(default_factory=lambda: NOTHING)
    pixels: NDArray[np.float32] = field(default_factory=lambda: np.full((2, 3), np.nan, np.float32))
    limits: tuple[str, ...] = ()

    @property
    def loss(self) -> float:
        """Sum of the terms, what training would descend on."""
        return float(sum(self.losses.values()))


NOTHING: Objects = Objects([], [], [])  # type: ignore[arg-type]
_PLAIN = ('split', 'index', 'img_id', 'file', 'fault', 'ori_shape', 'input_shape', 'digest', 'losses', 'limits')
_OBJECTS = ('truth', 'proposals', 'detections', 'raw')
_ARRAYS = ('ignored', 'pixels')


def write_record(record: ImageRecord, path: str | Path) -> Path:
    """Write a record whole or not at all.

    Args:
        record: The record.
        path: File, `.npz`.

    Returns:
        The path written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: getattr(record, name) for name in _PLAIN} | {
        'stages': {name: stage.kind for name, stage in record.stages.items()},
        'has': [name for name in _OBJECTS if getattr(record, name) is not None],
    }
    arrays = {name: getattr(record, name) for name in _ARRAYS}
    for name in plain['has']:
        objects = getattr(record, name)
        arrays |= {f'{name}.boxes': objects.boxes, f'{name}.labels': objects.labels, f'{name}.scores': objects.scores}
    for name, stage in record.stages.items():
        arrays |= {f'stages.{name}.{key}': getattr(stage, key) for key in _STAGE_ARRAYS}
    arrays['plain'] = np.frombuffer(json.dumps(plain).encode(), np.uint8)
    part = path.with_suffix('.part')
    with part.open('wb') as file:
        np.savez_compressed(file, **arrays)
    os.replace(part, path)
    return path


def read_record(path: str | Path) -> ImageRecord:
    """Read a record; nothing in the file is run.

    Raises:
        ValueError: The file is damaged or no record.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            plain: dict[str, Any] = json.loads(arrays['plain'].tobytes())
            has, kinds = plain.pop('has'), plain.pop('stages')
            for key in ('ori_shape', 'input_shape', 'limits'):
                plain[key] = tuple(plain[key])
            objects: dict[str, Any] = {
                name: Objects(*(arrays[f'{name}.{key}'] for key in ('boxes', 'labels', 'scores'))) for name in has
            }
            stages = {
                name: StageRecord(kind=kind, **{key: arrays[f'stages.{name}.{key}'] for key in _STAGE_ARRAYS})
                for name, kind in kinds.items()
            }
            rest: dict[str, Any] = {name: arrays[name] for name in _ARRAYS}
            return ImageRecord(**plain, **objects, **rest, stages=stages)
    except (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f'{path} is no record of the diagnosis ({error}); delete it and run the diagnosis again'
        ) from None


_STAGE_ARRAYS = tuple(item.name for item in fields(StageRecord) if item.name != 'kind')
