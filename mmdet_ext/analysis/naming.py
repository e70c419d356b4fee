"""Which name did a detector give to each annotated object? Finding an object and naming it are told apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmdet.evaluation.functional import bbox_overlaps
from mmengine.fileio import load
from numpy.typing import NDArray

NOT_FOUND = -1


@dataclass(frozen=True)
class Objects:
    """Annotated or detected objects of one image.

    Attributes:
        boxes: (n, 4) float32 xyxy in pixels of the image file.
        labels: (n,) index into the class names.
        scores: (n,) confidence; ones for annotated objects.
    """

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        object.__setattr__(self, 'boxes', np.asarray(self.boxes, np.float32).reshape(-1, 4))
        object.__setattr__(self, 'labels', np.asarray(self.labels, np.int64))
        object.__setattr__(self, 'scores', np.asarray(self.scores, np.float32))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, keep: NDArray) -> 'Objects':
        return Objects(self.boxes[keep], self.labels[keep], self.scores[keep])


def read_annotations(ann_file: str | Path, classes: Sequence[str]) -> dict[int, Objects]:
    """Annotated objects by image id, images without objects included; crowds and other categories are left out.

    Raises:
        FileNotFoundError: The annotation file is missing.
    """
    coco = json.loads(Path(ann_file).read_text(encoding='utf-8'))
    labels = {c['id']: classes.index(c['name']) for c in coco['categories'] if c['name'] in classes}
    found: dict[int, list[tuple[list[float], int]]] = {image['id']: [] for image in coco['images']}
    for annotation in coco['annotations']:
        if annotation['category_id'] in labels and not annotation.get('iscrowd'):
            x, y, w, h = annotation['bbox']
            found[annotation['image_id']].append(([x, y, x + w, y + h], labels[annotation['category_id']]))
    return {
        image_id: Objects([box for box, _ in objects], [label for _, label in objects], np.ones(len(objects)))  # type: ignore[arg-type]
        for image_id, objects in found.items()
    }


def read_predictions(file: str | Path) -> dict[int, Objects]:
    """Detected objects by image id, from the pickle that `tools/test.py --out` writes (a file of your own making)."""
    return {
        sample['img_id']: Objects(*(sample['pred_instances'][key].numpy() for key in ('bboxes', 'labels', 'scores')))
        for sample in load(file)
    }


def name_objects(truth: Objects, detected: Objects, iou_thr: float = 0.5, score_thr: float = 0.0) -> NDArray[np.int64]:
    """Label of the most confident detection on each annotated object, whatever its class.

    Args:
        truth: n annotated objects.
        detected: Detections in the same image.
        iou_thr: Overlap from which a detection is on an object.
        score_thr: Detections below it do not count.

    Returns:
        (n,) labels; `NOT_FOUND` where no detection is on the object.
    """
    detected = detected[detected.scores >= score_thr]
    if not len(truth) or not len(detected):
        return np.full(len(truth), NOT_FOUND)
    on_object = bbox_overlaps(truth.boxes, detected.boxes) >= iou_thr
    confidence = np.where(on_object, detected.scores, -1.0)
    best = confidence.argmax(axis=1)
    return np.where(on_object.any(axis=1), detected.labels[best], NOT_FOUND)


def count_names(
    truth: Mapping[int, Objects], detected: Mapping[int, Objects], num_classes: int, score_thr: float = 0.0
) -> NDArray[np.int64]:
    """Count over all images how often objects of each class were given each name.

    Args:
        truth: Annotated objects by image id.
        detected: Detections by image id; an image that is missing here has none.
        num_classes: C.
        score_thr: See `name_objects`.

    Returns:
        (C, C + 1): row the annotated class, column the name given, last column not found at all.
    """
    counts = np.zeros((num_classes, num_classes + 1), np.int64)
    nothing = Objects([], [], [])  # type: ignore[arg-type]
    for image_id, objects in truth.items():
        names = name_objects(objects, detected.get(image_id, nothing), score_thr=score_thr)
        np.add.at(counts, (objects.labels, names), 1)
    return counts
