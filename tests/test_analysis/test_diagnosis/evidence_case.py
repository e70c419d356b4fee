"""Evidence of a healthy detector, made by hand; tests change what they need."""

from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_ext.analysis.diagnosis.evidence import Check, Evidence, SplitEvidence, StageEvidence
from mmdet_ext.analysis.diagnosis.record import SCORE_BINS
from mmdet_ext.analysis.diagnosis.rules import RULES
from mmdet_ext.analysis.diagnosis.verdict import Verdict, judge

CLASSES = ('cat', 'dog', 'bird')
_QUANTILES = {'mean': 0.4, 'median': 0.3, 'q25': 0.2, 'q75': 0.5, 'q90': 0.7, 'max': 1.0}


def config(**model: Any) -> Config:
    test_cfg = {
        'rpn': {'max_per_img': 1000},
        'rcnn': {'score_thr': 0.05, 'nms': {'type': 'nms', 'iou_threshold': 0.5}, 'max_per_img': 100},
    }
    node = {'data_preprocessor': {'mean': [1, 2, 3], 'std': [4, 5, 6], 'bgr_to_rgb': True}, 'test_cfg': test_cfg}
    return Config({'model': node | model})


def stage(**changes: Any) -> StageEvidence:
    histograms = np.zeros((3, SCORE_BINS), np.int64)
    histograms[0, -1], histograms[1, 0] = 10, 1000
    healthy = StageEvidence(
        kind='priors',
        positives=5.0,
        negatives=500.0,
        ignored=10.0,
        histograms=histograms,
        above_half=0.0,
        separation=1.0,
        best_recall={0.3: 1.0, 0.5: 0.95, 0.7: 0.6},
        without_positive=0.0,
        without_positive_by_size={'small': 0.0, 'medium': None, 'large': None},
        best_iou=0.72,
        overlap_before=0.6,
        overlap_after=0.85,
        level_priors=[300.0, 100.0],
        level_positives=[3.0, 2.0],
    )
    return replace(healthy, **changes)


def split(name: str = 'val', **changes: Any) -> SplitEvidence:
    rng = np.random.default_rng(0)
    healthy = SplitEvidence(
        split=name,
        n_images=20,
        n_objects=60,
        losses={'loss_cls': _QUANTILES, 'total': _QUANTILES},
        ap=0.6,
        ap_50=0.9,
        class_ap=dict.fromkeys(CLASSES, 0.6),
        class_objects=dict.fromkeys(CLASSES, 20),
        size_ap={'small': 0.5, 'medium': 0.6, 'large': None},
        tide=dict.fromkeys(('classification', 'localisation', 'both', 'duplicate', 'background', 'missed'), 0.01),
        tide_counts=dict.fromkeys(('classification', 'localisation', 'both', 'duplicate', 'background', 'missed'), 1),
        names=np.array([[19, 0, 1, 0], [0, 20, 0, 0], [0, 1, 18, 1]]),
        label_shift=(0, 0.97, 0.97),
        proposals={10: 0.5, 1000: 0.7},
        proposals_50={10: 0.8, 1000: 0.97},
        proposal_ap=0.4,
        costs={'score_thr': 0.0, 'nms': 0.001, 'max_per_img': 0.0},
        best_settings={'score_thr': 0.05, 'nms': 0.6, 'max_per_img': 100.0},
        stages={'rpn_head': stage(), 'roi_head': stage(kind='rois')},
        pixels=np.array([[0.0, 0.1, 0.0], [1.0, 1.0, 1.0]]),
        image_pixels=np.array([[0.0], [1.0]]) + 0.1 * rng.normal(size=(20, 2, 3)),
        object_sizes=rng.uniform(20, 80, 60),
        input_shapes=np.full((20, 2), 100),
        ori_shapes=np.full((20, 2), 100),
    )
    return replace(healthy, **changes)


def evidence(**changes: Any) -> Evidence:
    healthy = Evidence(
        cfg=config(),
        checkpoint='w.pth',
        classes=CLASSES,
        heads={'rpn_head': 'priors', 'roi_head': 'rois'},
        splits={'train': split('train'), 'val': split('val')},
        trials={
            name: {'plain': {'loss': 1.0, 'ap': 0.8}, 'channels': {'loss': 2.0, 'ap': 0.3}, 'double': {'loss': 1.5}}
            for name in ('train', 'val')
        },
        gradients={'loss_cls': 1.0, 'loss_bbox': 0.5},
    )
    return replace(healthy, **changes)


def both(**changes: Any) -> dict[str, SplitEvidence]:
    """Splits with the same changes."""
    return {name: split(name, **changes) for name in ('train', 'val')}


def trial(name: str, loss: float = 0.4, splits: tuple[str, ...] = ('train', 'val'), ap: float | None = None) -> dict:
    """Trials of which one changes the loss from 1.0 in some splits, and leaves it in the others."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for each in ('train', 'val'):
        helped = each in splits
        other = {'loss': loss if helped else 1.4}
        plain = {'loss': 1.0}
        if ap is not None:
            other['ap'], plain['ap'] = (ap if helped else 0.1), 0.2
        found[each] = {'plain': plain, name: other}
    return found


def check(name: str, passed: bool | None = False, fix: str = 'Mend it.', **figures: float) -> dict[str, Check]:
    return {name: Check(name, passed, f'What {name} says.', figures, fix)}


def verdicts(**changes: Any) -> dict[str, Verdict]:
    """Of the whole table, by rule and in order."""
    return {each.rule: each for each in judge(evidence(**changes), RULES)}
