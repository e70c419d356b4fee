"""Normalised mean error of landmarks."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet.registry import METRICS
from mmdet.structures.bbox import bbox_overlaps
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from .face_truth import CocoFaces, FaceDetections, FaceTruth, Floats, read_detections, read_truth


@METRICS.register_module()
class LandmarkNME(BaseMetric):
    """How far the landmarks of detected faces are from the true ones, in units of the face.

    Detections choose by falling score, each the face of greatest IoU among those that are left, from `iou_thr` on. The
    error of a face is the mean distance over its labelled landmarks (v 1 or 2), divided by its size. Faces without a
    labelled landmark, ignored ones and those of size 0 do not count, but a detection may still choose them.

    Results, over all faces that count:

    - `nme`: mean error of the faces that were found;
    - `failure_rate`: share of those whose error is above `failure_thr`;
    - `found`: share of the faces that were found.

    Where none was found they are 1, 1 and 0, the worst; where no face counts, all are -1, as in COCO's metrics. A
    detector without landmarks (`num_landmarks=0`) gets none of them and a warning: it can be compared all the same.

    Args:
        normalize: 'bbox' divides by the square root of the area of the true box, 'interocular' by the distance of the
            true eyes; then faces without two labelled eyes do not count.
        eyes: Indices of the two landmarks of 'interocular'.
        iou_thr: Overlap that a match needs.
        failure_thr: Error above which a face has failed.
        ann_file: COCO file with the faces. Default: `gt_instances` and `ignored_instances` of the data samples, in
            pixels of the original image.
        label: Class index of the face.
        kwargs: Of mmengine's BaseMetric.

    Raises:
        FileNotFoundError: `ann_file` is missing.
        ValueError: An option is not allowed.
    """

    default_prefix = 'landmark'

    def __init__(
        self, normalize: str = 'bbox', eyes: Sequence[int] = (0, 1), iou_thr: float = 0.5, failure_thr: float = 0.1,
        ann_file: str | None = None, label: int = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if normalize not in ('bbox', 'interocular'):
            raise ValueError(f"LandmarkNME: normalize must be 'bbox' or 'interocular', got {normalize!r}")
        if len(eyes) != 2 or eyes[0] == eyes[1]:
            raise ValueError(f'LandmarkNME: eyes must be two different landmarks, got {eyes!r}')
        if not 0 < iou_thr <= 1:
            raise ValueError(f'LandmarkNME: iou_thr must be a number 0 < IoU <= 1, got {iou_thr!r}')
        if not failure_thr > 0:
            raise ValueError(f'LandmarkNME: failure_thr must be above 0, got {failure_thr!r}')
        self.normalize, self.eyes = normalize, list(eyes)
        self.iou_thr, self.failure_thr, self.label = iou_thr, failure_thr, label
        self.coco = None if ann_file is None else CocoFaces(ann_file, label)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Measure the faces of a batch; keeps the errors and the number of faces.

        Raises:
            KeyError: The image has no annotations.
            ValueError: Detections and annotations have different numbers of landmarks.
        """
        for sample in data_samples:
            found = read_detections(sample, self.label)
            if found.landmarks is None:
                self.results.append(None)
                continue
            truth = read_truth(sample, self.label) if self.coco is None else self.coco[sample['img_id']]
            self.results.append(self._measure(found, truth, sample))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Mean over all faces.

        Raises:
            KeyError: Some images have landmarks and others have none.
        """
        lacking = sum(one is None for one in results)
        if lacking:
            text = f'LandmarkNME: pred_instances of {lacking} of {len(results)} images have no keypoints'
            if lacking < len(results):
                raise KeyError(f'{text}; a detector gives them for all images (without detections: of shape (0, K, 2))')
            print_log(f'{text}, so there is nothing to measure', 'current', logging.WARNING)
            return {}
        faces = sum(one['faces'] for one in results)
        errors = np.concatenate([np.zeros(0), *(one['errors'] for one in results)])
        if not faces:
            return {'nme': -1.0, 'failure_rate': -1.0, 'found': -1.0}
        if not len(errors):
            return {'nme': 1.0, 'failure_rate': 1.0, 'found': 0.0}
        return {
            'nme': float(errors.mean()), 'failure_rate': float((errors > self.failure_thr).mean()),
            'found': len(errors) / faces,
        }  # fmt: skip

    def _measure(self, found: FaceDetections, truth: FaceTruth, sample: Mapping[str, Any]) -> dict[str, Any]:
        nothing = {'faces': 0, 'errors': np.zeros(0)}
        if truth.landmarks is None or not len(truth.boxes):
            return nothing
        marks, seen, guesses = truth.landmarks[..., :2], truth.landmarks[..., 2] > 0, found.landmarks
        if guesses is not None and len(guesses) and guesses.shape[1] != marks.shape[1]:
            raise ValueError(
                f'LandmarkNME: image {sample.get("img_id")} has {guesses.shape[1]} landmarks for each detection and '
                f'{marks.shape[1]} for each face'
            )
        size = self._size(truth, seen)
        counts = ~truth.ignored & seen.any(1) & (size > 0)
        chosen, by = choose_faces(found.boxes, truth.boxes, self.iou_thr)
        keep = counts[chosen]
        chosen, by = chosen[keep], by[keep]
        if guesses is None or not len(chosen):
            return {'faces': int(counts.sum()), 'errors': np.zeros(0)}
        distance = np.linalg.norm(guesses[by] - marks[chosen], axis=-1) * seen[chosen]
        errors = distance.sum(1) / seen[chosen].sum(1) / size[chosen]
        return {'faces': int(counts.sum()), 'errors': errors}

    def _size(self, truth: FaceTruth, seen: np.ndarray) -> Floats:
        """(K,) what errors are divided by; 0 for faces that cannot be measured."""
        if self.normalize == 'bbox':
            sides = np.clip(truth.boxes[:, 2:] - truth.boxes[:, :2], 0, None)
            return np.sqrt(sides.prod(1))
        marks = np.asarray(truth.landmarks)[..., :2]
        if max(self.eyes) >= marks.shape[1]:
            raise ValueError(f'LandmarkNME: eyes are {self.eyes}, but faces have {marks.shape[1]} landmarks')
        apart = np.linalg.norm(marks[:, self.eyes[0]] - marks[:, self.eyes[1]], axis=-1)
        return apart * seen[:, self.eyes].all(1)


def choose_faces(boxes: Floats, faces: Floats, iou_thr: float) -> tuple[np.ndarray, np.ndarray]:
    """Greedy matching by score.

    Args:
        boxes: Detections (n, 4) xyxy, by falling score.
        faces: Faces (k, 4) xyxy.
        iou_thr: Overlap that a match needs.

    Returns:
        Indices of the faces that were chosen, and of the detections that chose them, both (m,).
    """
    iou = bbox_overlaps(torch.from_numpy(boxes), torch.from_numpy(faces)).numpy()
    rows, columns = np.nonzero(iou >= iou_thr)
    order = np.lexsort((columns, -iou[rows, columns], rows))
    face_of: dict[int, int] = {}
    free = np.ones(len(faces), bool)
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):  # a few pairs per face
        if free[column] and row not in face_of:
            face_of[row] = column
            free[column] = False
    return np.array(list(face_of.values()), np.int64), np.array(list(face_of), np.int64)
