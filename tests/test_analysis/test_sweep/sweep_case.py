"""Stored predictions of the tiny data set, without a detector: the true boxes, and boxes that are nowhere near one."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch

from mmdet_ext.analysis.stored_predictions import ImagePredictions
from tests.tiny_coco import make_tiny_coco, tiny_config


def write_case(folder: Path, images: int = 4, **test_cfg: Any) -> tuple[Path, Path]:
    """Write data, `tiny.py` and `p.pkl`; returns config and pickle.

    In each image the true box has a score of 0.8; 12 boxes of half a pixel in a corner share the scores 0.6 to 0.05.
    """
    paths = make_tiny_coco(folder / 'data', n=images)
    config = folder / 'tiny.py'
    # Cut nowhere, unless a test says otherwise.
    test_cfg = {'max_per_img': 100, **test_cfg}
    changes = ''.join(f'model["test_cfg"][{key!r}] = {value!r}\n' for key, value in test_cfg.items())
    config.write_text(tiny_config(paths) + changes)
    content = json.loads(Path(paths['ann']).read_text())
    samples = []
    for annotation in content['annotations']:
        x, y, w, h = annotation['bbox']
        noise = torch.tensor([[2.0 * k, 0.0, 2.0 * k + 0.5, 0.5] for k in range(12)])
        pred = {
            'bboxes': torch.cat([noise, torch.tensor([[x, y, x + w, y + h]], dtype=torch.float)]),
            'scores': torch.tensor([0.6 - 0.05 * k for k in range(12)] + [0.8]),
            'labels': torch.full((13,), annotation['category_id'] - 1),
        }
        samples.append({'img_id': annotation['image_id'], 'ori_shape': (64, 64), 'pred_instances': pred})
    pickled = folder / 'p.pkl'
    pickled.write_bytes(pickle.dumps(samples, 2))
    return config, pickled


def image(scores: list[float], boxes: list[list[float]] | None = None, labels: list[int] | None = None) -> Any:
    """Predictions of one image; by default boxes that do not overlap, of one class."""
    boxes = boxes or [[10.0 * k, 0.0, 10.0 * k + 5.0, 5.0] for k in range(len(scores))]
    return ImagePredictions(
        img_id=1,
        ori_shape=(64, 64),
        bboxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels or [0] * len(scores), dtype=torch.int64),
    )
