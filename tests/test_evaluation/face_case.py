"""Data samples of a face detector as metrics get them."""

import numpy as np
import torch


def sample(boxes, scores=None, keypoints=None, labels=None, truth=None, **meta):
    """Detections xyxy and, in `truth`, keys of gt_instances."""
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    scores = torch.linspace(0.9, 0.1, len(boxes)) if scores is None else torch.tensor(scores)
    labels = torch.zeros(len(boxes), dtype=torch.long) if labels is None else torch.tensor(labels)
    found = {'bboxes': boxes, 'scores': scores, 'labels': labels}
    if keypoints is not None:
        found['keypoints'] = torch.as_tensor(np.array(keypoints), dtype=torch.float32)
    one = {'img_id': 1, 'pred_instances': found, **meta}
    if truth is not None:
        one['gt_instances'] = {key: torch.as_tensor(value) for key, value in truth.items()}
    return one


def evaluate(metric, samples):
    metric.process({}, samples)
    return metric.evaluate(size=len(samples))
