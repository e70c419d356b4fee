"""Whom do the detections of an image listen to? Weights of many overlapping RoIs, put together by object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mmdet.evaluation.functional import bbox_overlaps
from mmdet.structures import DetDataSample
from numpy.typing import NDArray

from mmdet_ext.evaluation.objects import Objects
from mmdet_ext.models.relations import Parts, part_cells

from ..detection_pictures import best_per_place
from .nodes import RelationNode
from .record import RecordedPrediction, RecordedRelation, pairwise_weights

_SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True)
class Partner:
    """Something that a detection listens to.

    Attributes:
        box: (4,) xyxy in pixels of the image file.
        share: Of the whole weight, 0 to 1.
        name: What it is.
        kind: `'object'` (another detection, with all RoIs on it), `'itself'`, `'roi'` (one RoI elsewhere) or `'part'`.
    """

    box: NDArray[np.float32]
    share: float
    name: str
    kind: str


@dataclass(frozen=True)
class Listening:
    """The partners of one detection through one relation.

    Attributes:
        relation: Name of the node.
        partners: Strongest first.
        objects: Share of the weight that is on detected objects.
        uniform: The same share if all RoIs weighed alike.
    """

    relation: str
    partners: tuple[Partner, ...]
    objects: float
    uniform: float


@dataclass
class ImageView:
    """All that is drawn of an image.

    Attributes:
        file: The image.
        detections: Shown detections, one per place, best first.
        listening: For each of them, what it listens to through each relation that has weights.
        counts: Name of the node -> expected number of objects of each class.
        speaks: Name of the node -> image attention over the classes and the background.
    """

    file: str
    detections: Objects
    listening: list[list[Listening]]
    counts: dict[str, NDArray] = field(default_factory=dict)
    speaks: dict[str, NDArray] = field(default_factory=dict)


def view_image(
    sample: DetDataSample,
    index: int,
    prediction: RecordedPrediction,
    seen: Mapping[str, RecordedRelation],
    nodes: Sequence[RelationNode],
    classes: Sequence[str],
    score_thr: float,
    max_partners: int = 6,
) -> ImageView:
    """Put together what is drawn of one image of a batch.

    Args:
        sample: With `pred_instances` that know their `roi_index`.
        index: Place of the image in the batch.
        prediction: Of the batch.
        seen: What the relations saw and showed.
        nodes: The relations.
        classes: Class names.
        score_thr: Detections below it are not shown.
        max_partners: Most partners of a detection.
    """
    found = sample.pred_instances.cpu().numpy()
    detected = Objects(found.bboxes, found.labels, found.scores)
    kept = best_per_place(detected, score_thr)
    # Without any RoI in the batch there is no such field.
    rows = found.roi_index[kept] if 'roi_index' in found else np.zeros(0, np.int64)
    view = ImageView(sample.img_path, detected[kept], [[] for _ in kept])
    boxes = prediction.boxes[index].float().cpu().numpy()
    labels = prediction.scores[index].argmax(-1).cpu().numpy()
    owners = own_objects(boxes, view.detections, rows)
    for node in nodes:
        recorded = seen.get(node.name)
        if recorded is None:
            continue
        for name, target in (('counts', view.counts), ('image_attention', view.speaks)):
            if name in recorded.maps:
                target[node.name] = recorded.maps[name][index].float().cpu().numpy()
        weights = pairwise_weights(recorded)
        for place, row in enumerate(rows):
            if weights is not None:
                own = weights[index, row, : len(boxes)].float().cpu().numpy()
                listening = group_weights(own, boxes, labels, owners, view.detections, place, classes)
            elif 'attention' in recorded.maps and hasattr(node.relation, 'part_names'):
                weight = recorded.maps['attention'][index, :, row].float().mean(0).cpu().numpy()
                listening = _part_weights(weight, node.relation, recorded, index, sample.metainfo)
            else:
                continue
            view.listening[place].append(
                replace(listening, relation=node.name, partners=listening.partners[:max_partners])
            )
    return view


def own_objects(boxes: NDArray, detections: Objects, rows: NDArray) -> NDArray[np.int64]:
    """(N,) detection that each RoI lies on, -1 for none."""
    owners = np.full(len(boxes), -1)
    if len(detections) and len(boxes):
        overlaps = bbox_overlaps(boxes, detections.boxes)
        owners = np.where(overlaps.max(1) >= _SAME_OBJECT_IOU, overlaps.argmax(1), -1)
        owners[rows] = np.arange(len(rows))
    return owners


def group_weights(
    weights: NDArray,
    boxes: NDArray,
    labels: NDArray,
    owners: NDArray,
    detections: Objects,
    place: int,
    classes: Sequence[str],
) -> Listening:
    """Partners of a detection: objects with the weight of all RoIs on them, and single RoIs elsewhere.

    Args:
        weights: (N,) of every RoI for this detection.
        boxes: (N, 4).
        labels: (N,) class of each RoI, C for background.
        owners: See `own_objects`.
        detections: Shown detections.
        place: Which of them listens.
        classes: Class names.
    """
    total = weights.sum() or 1.0
    names = [*classes, 'background']
    partners = [
        Partner(
            detections.boxes[other],
            float(weights[owners == other].sum() / total),
            'itself' if other == place else classes[detections.labels[other]],
            'itself' if other == place else 'object',
        )
        for other in range(len(detections))
    ]
    partners += [
        Partner(boxes[row], float(weights[row] / total), names[labels[row]], 'roi')
        for row in np.flatnonzero(owners < 0)
        if weights[row] > 0
    ]
    partners.sort(key=lambda partner: -partner.share)
    on_objects = owners >= 0
    is_key = weights > 0
    return Listening(
        '',
        tuple(partners),
        float(weights[on_objects].sum() / total),
        float(on_objects[is_key].mean()) if is_key.any() else 0.0,
    )


def _part_weights(
    weights: NDArray, relation: Any, recorded: RecordedRelation, index: int, meta: Mapping[str, Any]
) -> Listening:
    parts: Parts = recorded.ctx.parts.select(relation.part_names, 'the probe')  # type: ignore[union-attr]
    split = relation.split or (1, 1)
    cells = part_cells(parts.boxes[index : index + 1].float(), split).flatten(1, 2)[0].cpu().numpy()
    scale = np.asarray(meta.get('scale_factor', (1.0, 1.0)), np.float32)[:2]
    each = split[0] * split[1]
    partners = [
        Partner(box / np.tile(scale, 2), float(weight), relation.part_names[place // each], 'part')
        for place, (box, weight) in enumerate(zip(cells, weights, strict=True))
        if weight > 0
    ]
    partners.sort(key=lambda partner: -partner.share)
    return Listening('', tuple(partners), 0.0, 0.0)
