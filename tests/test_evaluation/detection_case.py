"""Random objects and detections of some images, the same under every version of numpy."""

import numpy as np

from mmdet_ext.evaluation.objects import ImageObjects, Objects


def objects(boxes, labels=None, scores=None):
    """Boxes xyxy; labels 0 and scores 1 unless told."""
    count = len(boxes)
    labels = np.zeros(count, int) if labels is None else labels
    return Objects(boxes, labels, np.ones(count) if scores is None else scores)


def image(truth, detections=((), (), ()), ignored=()):
    """Truth as (boxes, labels), detections as (boxes, labels, scores)."""
    return ImageObjects(objects(*truth), objects(*detections), np.asarray(ignored, np.float32).reshape(-1, 4))


def random_images(seed, images=30, classes=4):
    """Objects of the first classes; detections around and beside them, of one class more; no two scores are equal.

    All numbers have few digits, so that no kind of rounding decides.
    """
    rng = np.random.RandomState(seed)
    scores = iter(rng.permutation(np.arange(1, 2001)) / 2048)
    result = []
    for _ in range(images):
        count = rng.randint(0, 6)
        low = rng.randint(0, 150, (count, 2))
        truth = np.concatenate([low, low + rng.randint(8, 150, (count, 2))], 1)
        labels = rng.randint(0, classes, count)
        boxes, names = [], []
        for box, label in zip(truth, labels, strict=True):
            for _ in range(rng.randint(0, 4)):
                boxes.append(box + np.round(rng.normal(0, 0.12, 4) * np.tile(box[2:] - box[:2], 2)))
                names.append(label if rng.rand() < 0.7 else rng.randint(0, classes + 1))
        for _ in range(rng.randint(0, 3)):
            low = rng.randint(0, 200, 2)
            boxes.append([*low, *(low + rng.randint(5, 90, 2))])
            names.append(rng.randint(0, classes + 1))
        boxes = np.array(boxes, float).reshape(-1, 4)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        low = rng.randint(0, 120, 2)
        ignored = [[*low, *(low + 120)]] if rng.rand() < 0.3 else []
        result.append(image((truth, labels), (boxes, names, [next(scores) for _ in names]), ignored))
    return result
