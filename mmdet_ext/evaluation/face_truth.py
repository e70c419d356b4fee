"""True faces and detections of one image as arrays: what the metrics of faces read."""

from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmdet.structures.bbox import get_box_tensor
from numpy.typing import NDArray

from mmdet_ext.datasets.box_checks import is_number
from mmdet_ext.datasets.coco_file import read_coco

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class FaceTruth(NamedTuple):
    """Annotated faces of one image.

    Attributes:
        boxes: (K, 4) x1, y1, x2, y2 in pixels of the original image.
        ignored: (K,) neither faces nor background.
        landmarks: (K, L, 3) x, y, v, or None where there are no landmarks at all.
    """

    boxes: Floats
    ignored: Flags
    landmarks: Floats | None


class FaceDetections(NamedTuple):
    """Detected faces of one image, by falling score; those with a NaN or an infinity are left out.

    Attributes:
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the original image.
        scores: (n,).
        landmarks: (n, L, 2), or None for a detector without landmarks.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats | None


def read_detections(sample: Mapping[str, Any], label: int = 0) -> FaceDetections:
    """Detections of one class in a data sample, `pred_instances` as a dict of tensors."""
    found = sample['pred_instances']
    boxes, scores = _array(found['bboxes']).reshape(-1, 4), _array(found['scores'])
    landmarks = _array(found['keypoints'])[..., :2] if 'keypoints' in found else None
    keep = (_array(found['labels']) == label) & np.isfinite(boxes).all(1) & np.isfinite(scores)
    if landmarks is not None:
        keep &= np.isfinite(landmarks).all((1, 2))
    order = np.flatnonzero(keep)[np.argsort(-scores[keep], kind='stable')]
    return FaceDetections(boxes[order], scores[order], None if landmarks is None else landmarks[order])


def read_truth(sample: Mapping[str, Any], label: int = 0) -> FaceTruth:
    """Faces in `gt_instances` and `ignored_instances` of a data sample.

    Both must be in pixels of the original image, as mmdet's other metrics want them: the annotations are loaded *after*
    the image is resized.

    Raises:
        KeyError: The sample has no `gt_instances`.
    """
    if 'gt_instances' not in sample:
        raise KeyError(
            f'image {sample.get("img_id")} comes without gt_instances: load annotations in the test pipeline (after '
            'the resize), or name a COCO file as ann_file'
        )
    boxes, flags, landmarks = [], [], []
    for name, ignored in (('gt_instances', False), ('ignored_instances', True)):
        part = sample.get(name)
        if part is None or 'bboxes' not in part:
            continue
        kind = _array(part['labels']) == label if 'labels' in part else slice(None)
        boxes.append(_array(get_box_tensor(part['bboxes'])).reshape(-1, 4)[kind])
        flags.append(np.full(len(boxes[-1]), ignored))
        landmarks.append(_array(part['keypoints'])[kind] if 'keypoints' in part else None)
    joined = np.concatenate([np.zeros((0, 4)), *boxes])
    return FaceTruth(joined, np.concatenate([np.zeros(0, bool), *flags]), _stack(boxes, landmarks))


class CocoFaces:
    """Faces of a COCO file by image id; crowds and annotations with `ignore` are ignored.

    Args:
        ann_file: COCO json; `keypoints` of an annotation may be missing.
        label: Place of the class among the categories of the file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no COCO file (see `read_coco`), has not so many categories, or landmarks of different numbers.
    """

    def __init__(self, ann_file: str, label: int = 0) -> None:
        if not Path(ann_file).is_file():
            raise FileNotFoundError(f'{ann_file} does not exist: ann_file must be the COCO json of the evaluated data')
        coco = read_coco(ann_file)
        if label >= len(coco['categories']):
            raise ValueError(f'{ann_file} has {len(coco["categories"])} categories, there is none of label {label}')
        wanted = coco['categories'][label]['id']
        given = [a['keypoints'] for a in coco['annotations'] if a.get('keypoints')]
        if not all(isinstance(points, list) and all(is_number(v) and isfinite(v) for v in points) for points in given):
            raise ValueError(f'{ann_file}: the keypoints of an annotation are no list of finite numbers')
        counts = {len(points) for points in given}
        if len(counts) > 1 or any(count % 3 for count in counts):
            raise ValueError(f'{ann_file}: keypoints must be 3 numbers for each of the same landmarks, got {counts}')
        self._file, self._width = ann_file, counts.pop() if counts else 0
        self._faces: dict[Any, list[dict]] = {image['id']: [] for image in coco['images']}
        for annotation in coco['annotations']:
            if annotation['category_id'] == wanted:
                self._faces[annotation['image_id']].append(annotation)

    def __getitem__(self, img_id: Any) -> FaceTruth:
        """Faces of one image.

        Raises:
            KeyError: The file has no such image.
        """
        if img_id not in self._faces:
            raise KeyError(f'{self._file} has no image of id {img_id!r}: ann_file must be that of the evaluated data')
        faces = self._faces[img_id]
        boxes = np.array([a['bbox'] for a in faces], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        ignored = np.array([bool(a.get('iscrowd') or a.get('ignore')) for a in faces], bool)
        if not self._width:
            return FaceTruth(boxes, ignored, None)
        landmarks = np.array([a.get('keypoints') or [0] * self._width for a in faces], np.float64)
        return FaceTruth(boxes, ignored, landmarks.reshape(len(faces), self._width // 3, 3))


def _array(values: Any) -> Floats:
    values = values.detach().cpu().double().numpy() if isinstance(values, torch.Tensor) else values
    return np.asarray(values, np.float64)


def _stack(boxes: list[Floats], landmarks: list[Floats | None]) -> Floats | None:
    """Landmarks of all parts; rows without any have v = 0."""
    known = next((part for part in landmarks if part is not None), None)
    if known is None:
        return None
    pairs = zip(boxes, landmarks, strict=True)
    return np.concatenate([np.zeros((len(b), *known.shape[1:])) if part is None else part for b, part in pairs])
