"""What relations have learnt about classes, summed up over many images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmdet_ext.models.relations import CategoryGraphRelation

from .detector import PreparedBatch, ProbedDetector
from .nodes import RelationNode, replaced
from .record import MapRecorder, PredictionRecorder, pairwise_weights


@dataclass
class ClassTable:
    """A number for each pair of classes.

    Attributes:
        relation: Name of the node.
        kind: `'effect'`: row c, column c': how the probability of class c of the RoIs called c changes per relative
            change of class node c', a mean of derivatives. `'attention'`: how much RoIs called c weigh RoIs called c',
            relative to weighing all alike.
        values: (C, C + 1), background last; NaN where the data had no such pair.
        rois: (C,) number of RoIs of each row.
    """

    relation: str
    kind: str
    values: NDArray[np.float64]
    rois: NDArray[np.int64]


class ClassEffects:
    """Gathers both tables batch by batch.

    Args:
        detector: The detector.
        nodes: Its relations.
    """

    def __init__(self, detector: ProbedDetector, nodes: Sequence[RelationNode]) -> None:
        self._detector = detector
        self._nodes = [node for node in nodes if not node.members]
        size = len(detector.classes)
        self._rois = np.zeros(size, np.int64)
        self._effect = {
            node.name: np.zeros((size, size + 1))
            for node in self._nodes
            if isinstance(node.relation, CategoryGraphRelation)
        }
        # Weights that were given, and those of uniform attention.
        self._given: dict[str, tuple[NDArray, NDArray]] = {}

    def look(self, batch: PreparedBatch) -> None:
        """Predict a batch and add what is seen."""
        with PredictionRecorder(self._detector.model.roi_head) as predictions, MapRecorder(self._nodes) as recorder:
            self._detector.predict(batch)
        if predictions.last is None:
            return
        classes = predictions.last.classes()
        for labels in classes:
            self._rois += np.bincount(labels.cpu().numpy(), minlength=len(self._rois) + 1)[:-1]
        for name, recorded in recorder.seen.items():
            weights = pairwise_weights(recorded)
            if weights is not None:
                self._add_weights(name, weights, classes)
        for node in self._nodes:
            if node.name in self._effect:
                self._effect[node.name] += node_gradients(self._detector, batch, node, torch.cat(classes))

    def _add_weights(self, name: str, weights: torch.Tensor, classes: Sequence[torch.Tensor]) -> None:
        size = len(self._rois)
        given, even = self._given.setdefault(name, (np.zeros((size, size + 1)), np.zeros((size, size + 1))))
        for image, labels in enumerate(classes):
            own = weights[image, : len(labels), : len(labels)].double()
            member = torch.nn.functional.one_hot(labels, size + 1).double()
            # What no RoI looks at was no key.
            is_key = (own.sum(0) > 0).double()
            uniform = is_key.expand_as(own) / is_key.sum().clamp(min=1)
            given += (member[:, :-1].T @ own @ member).cpu().numpy()
            even += (member[:, :-1].T @ uniform @ member).cpu().numpy()

    def tables(self) -> list[ClassTable]:
        """All tables, in the order of the relations."""
        found = []
        for node in self._nodes:
            with np.errstate(divide='ignore', invalid='ignore'):
                if node.name in self._effect:
                    values = self._effect[node.name] / np.where(self._rois, self._rois, np.nan)[:, None]
                    found.append(ClassTable(node.name, 'effect', values, self._rois))
                if node.name in self._given:
                    given, even = self._given[node.name]
                    values = np.where(even > 0, given / even, np.nan)
                    found.append(ClassTable(node.name, 'attention', values, self._rois))
        return found


def node_gradients(
    detector: ProbedDetector, batch: PreparedBatch, node: RelationNode, classes: torch.Tensor
) -> NDArray[np.float64]:
    """(C, C + 1): sum over the RoIs called c of the derivative of p_c by the gain of class node c'.

    Node c' is row c' of the semantic pool where it enters the graph: every class hears it `1 + gain` times as loud. The
    gain sits in the adjacency (`A diag(1 + gain) M`), so it is seen even where the pool is detached.

    Args:
        detector: The detector.
        batch: Images.
        node: A category graph.
        classes: (N,) class of every RoI of the batch, C for background.
    """
    relation: Any = node.relation
    size = len(detector.classes)
    table = np.zeros((size, size + 1))
    with torch.enable_grad():
        gain = torch.ones(size + 1, device=classes.device, requires_grad=True)
        before = torch.diag(gain) if relation.adjacency is None else relation.adjacency.detach() * gain
        with replaced(relation, 'adjacency', before):
            probabilities = detector.probabilities(batch)
        for label in classes.unique().tolist():
            if label < size:
                total = probabilities[classes == label, label].sum()
                table[label] = torch.autograd.grad(total, gain, retain_graph=True)[0].double().cpu().numpy()
    return table
