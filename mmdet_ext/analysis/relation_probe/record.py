"""What a relation detector shows while it predicts: maps of its relations, and which RoI became which detection.

Everything is done by hooks that are taken away again; heads and relations know nothing of it.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_ext.models.relations import RelationContext, RelationOutput

from .nodes import RelationNode, box_heads, changed_input, seen_output


@dataclass
class RecordedPrediction:
    """What a box head gave for the RoIs of each image.

    Attributes:
        scores: Per image (n, C + 1) probabilities.
        boxes: Per image (n, 4) box of each RoI for its best class, in pixels of the image file.
    """

    scores: list[Tensor]
    boxes: list[Tensor]

    def classes(self) -> list[Tensor]:
        """Per image (n,) class of each RoI, C for background."""
        return [scores.argmax(-1) for scores in self.scores]


class PredictionRecorder:
    """Keeps the scores of all RoIs, and gives every detection the row of its RoI as field `roi_index`.

    Args:
        roi_head: Of a two-stage detector.

    Attributes:
        last: Of the last prediction; None where no image had a RoI, or before any.
    """

    def __init__(self, roi_head: nn.Module) -> None:
        self._head: Any = box_heads(roi_head)[-1]
        self.last: RecordedPrediction | None = None

    def __enter__(self) -> 'PredictionRecorder':
        self._head.predict_by_feat = self._predict
        return self

    def __exit__(self, *_: object) -> None:
        del self._head.predict_by_feat

    def _predict(
        self,
        rois: Sequence[Tensor],
        cls_scores: Sequence[Tensor],
        bbox_preds: Sequence[Tensor],
        batch_img_metas: list[dict],
        rcnn_test_cfg: Any = None,
        rescale: bool = False,
    ) -> list[InstanceData]:
        predict = type(self._head).predict_by_feat
        inputs = (self._head, rois, cls_scores, bbox_preds, batch_img_metas)
        results = predict(*inputs, rcnn_test_cfg, rescale)
        # Without a config there is no NMS: scores and boxes of all RoIs, row by row.
        every = predict(*inputs, None, rescale)
        self.last = RecordedPrediction([], [])
        for result, rows, meta in zip(results, every, batch_img_metas, strict=True):
            boxes = rows.bboxes.unflatten(1, (-1, 4)) if len(rows.bboxes) else rows.bboxes.reshape(0, 1, 4)
            if rcnn_test_cfg is not None:
                result.roi_index = match_detections(result, rows.scores, boxes)
            best = rows.scores[:, :-1].argmax(-1, keepdim=True) % boxes.shape[1]
            own = boxes.gather(1, best[..., None].expand(-1, -1, 4)).squeeze(1)
            if not rescale:
                own = own / own.new_tensor(meta.get('scale_factor', (1, 1))[:2]).repeat(2)
            self.last.scores.append(rows.scores)
            self.last.boxes.append(own)
        return results


def match_detections(found: InstanceData, scores: Tensor, boxes: Tensor) -> Tensor:
    """Row of the RoI that each detection was.

    NMS returns boxes as they are, so the RoI is the one with that very box for that class; of equal boxes it is the one
    of the nearest score (soft NMS lowers scores).

    Args:
        found: k detections with `bboxes`, `scores` and `labels`.
        scores: (n, C + 1).
        boxes: (n, C, 4), or (n, 1, 4) where all classes share a box.

    Returns:
        (k,) int64.
    """
    if not len(found.labels):
        return found.labels
    own = boxes[:, found.labels % boxes.shape[1]].double()
    distance = (own - found.bboxes.double()).abs().amax(-1)
    gap = (scores[:, found.labels] - found.scores).abs().double()
    return (distance * 1e6 + gap).argmin(0)


@dataclass
class RecordedRelation:
    """What a relation saw and what it shows of it, see the docstring of its `forward`."""

    ctx: RelationContext
    maps: dict[str, Tensor]


class MapRecorder:
    """Lets relations fill their maps and keeps them; of several calls of a prediction the first.

    (A stage of a cascade runs again on the RoIs of the next, which takes its scores.)

    Args:
        nodes: Relations to look at; compositions are left to their members.

    Attributes:
        seen: Name of the node -> what was recorded; emptied by `clear`.
    """

    def __init__(self, nodes: Sequence[RelationNode]) -> None:
        self._nodes = [node for node in nodes if not node.members]
        self._stack = ExitStack()
        self.seen: dict[str, RecordedRelation] = {}

    def __enter__(self) -> 'MapRecorder':
        for node in self._nodes:
            self._stack.enter_context(changed_input(node.relation, lambda ctx: replace(ctx, want_maps=True)))
            self._stack.enter_context(seen_output(node.relation, self._keep(node.name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def clear(self) -> None:
        """Forget what was recorded, before the next prediction."""
        self.seen.clear()

    def _keep(self, name: str) -> Callable[[tuple, RelationOutput], None]:
        def keep(args: tuple, output: RelationOutput) -> None:
            self.seen.setdefault(name, RecordedRelation(args[0], output.maps))

        return keep


def pairwise_weights(recorded: RecordedRelation) -> Tensor | None:
    """(B, N, N) how much RoI j weighs for RoI i, the mean over heads or kernels; None for relations without weights."""
    maps = recorded.maps
    if 'weights_0' in maps:
        return maps['weights_0'].mean(1)
    if 'attention' not in maps or 'key_index' not in maps:
        return None
    weights = maps['attention'].mean(1)
    width = weights.shape[1]
    index = maps['key_index'][:, None].expand_as(weights)
    return torch.zeros(*weights.shape[:2], width, dtype=weights.dtype, device=weights.device).scatter_add(
        2, index, weights
    )
