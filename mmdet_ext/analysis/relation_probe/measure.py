"""How much the detections change under each intervention: AP of the config's evaluator, and class scores."""

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement
from torch import Tensor

from .detector import ProbedDetector, quiet
from .interventions import Intervention
from .nodes import RelationNode, seen_output
from .record import PredictionRecorder

PER_CLASS = '_precision'


@dataclass(frozen=True)
class Outcome:
    """An intervention, the mean over its seeds.

    Attributes:
        relation: Name of the node; empty for the detector as it is.
        kind: See `Intervention`.
        explanation: Likewise.
        ap: The evaluator's first figure.
        ap_std: Its standard deviation over the seeds; None for a single run.
        per_class: AP by class name; None where the data have no object of the class.
        score_change: Mean absolute change of the score of the class that the undisturbed detector gives a RoI, over
            the RoIs that it does not call background.
        renamed: Share of these RoIs that get another class, or background.
        metrics: All figures of the evaluator, of the first seed.
        runs: Number of seeds.
    """

    relation: str
    kind: str
    explanation: str
    ap: float
    ap_std: float | None
    per_class: dict[str, float | None]
    score_change: float
    renamed: float
    metrics: dict[str, float]
    runs: int


@dataclass
class _Tally:
    """What is gathered of an intervention over the batches."""

    results: list[list]
    change: float = 0.0
    renamed: int = 0
    rois: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def add_scores(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> None:
        for old, new in zip(before, after, strict=True):
            label = old.argmax(-1)
            found = label < old.shape[1] - 1
            own = label[found, None]
            self.change += float((new[found].gather(1, own) - old[found].gather(1, own)).abs().sum())
            self.renamed += int((new[found].argmax(-1) != own.squeeze(1)).sum())
            self.rois += int(found.sum())


def mean_features(
    detector: ProbedDetector, nodes: Sequence[RelationNode], look: Callable[[Any], Any]
) -> dict[str, Tensor]:
    """Run over the data once: what every relation gives, the mean over all RoIs.

    Args:
        detector: The detector.
        nodes: Its relations.
        look: Called with each prepared batch, in the place of a prediction.

    Returns:
        Name of the node -> (E,) float32; zeros where there was no RoI at all.
    """
    sums: dict[str, Tensor] = {}
    rows: dict[str, int] = {}

    def keep(name: str) -> Callable[[tuple, Any], None]:
        def add(_: tuple, output: Any) -> None:
            feats = getattr(output, 'feats', output).detach()
            sums[name] = sums.get(name, 0) + feats.double().sum(0)
            rows[name] = rows.get(name, 0) + len(feats)

        return add

    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(seen_output(node.gate, keep(node.name)))
        for batch in detector.batches():
            look(batch)
    return {
        node.name: (sums[node.name] / max(rows[node.name], 1)).float()
        if node.name in sums
        else torch.zeros(node.relation.out_channels)
        for node in nodes
    }


def measure(
    detector: ProbedDetector, interventions: Sequence[Intervention], progress: Callable[[Iterator], Iterator] = iter
) -> list[Outcome]:
    """Evaluate the detector as it is (first of the list) and under every intervention; feature maps are shared.

    Args:
        detector: The detector.
        interventions: What to do to it.
        progress: Wraps the batches, to show how far it is.
    """
    plain = Intervention('', 'as it is', 'nothing is changed', nullcontext)
    everything = [plain, *interventions]
    metrics = detector.evaluator.metrics
    tallies = [_Tally([[] for _ in metrics]) for _ in everything]
    ids: list[Any] = []
    with PredictionRecorder(detector.model.roi_head) as recorder:
        for batch in progress(detector.batches()):
            ids += [sample.img_id for sample in batch.samples]
            before: list[Tensor] = []
            for tally, intervention in zip(tallies, everything, strict=True):
                recorder.last = None
                scores = _predict(detector, batch, intervention.apply(), tally, recorder)
                before = before or scores
                tally.add_scores(before, scores)
    for tally in tallies:
        tally.metrics = evaluate(detector.evaluator, tally.results, ids)
    headline = find_headline(tallies[0].metrics)
    return summarize(everything, tallies, headline)


def _predict(
    detector: ProbedDetector,
    batch: Any,
    disturbed: AbstractContextManager,
    tally: _Tally,
    recorder: PredictionRecorder,
) -> list[Tensor]:
    with disturbed:
        samples = detector.predict(batch)
    for metric, results in zip(detector.evaluator.metrics, tally.results, strict=True):
        metric.results = results
    detector.evaluator.process(data_samples=[_to_cpu(sample) for sample in samples], data_batch=None)
    return [] if recorder.last is None else recorder.last.scores


def _to_cpu(sample: BaseDataElement) -> dict:
    return sample.cpu().to_dict()


def evaluate(evaluator: Evaluator, results: Sequence[list], ids: Sequence[Any]) -> dict[str, float]:
    """Figures of gathered results; those of an annotation file are restricted to the images that were looked at."""
    for metric, own in zip(evaluator.metrics, results, strict=True):
        metric.results = own
        if hasattr(metric, 'img_ids'):
            metric.img_ids = list(ids)
    with quiet():
        return {name: float(value) for name, value in evaluator.evaluate(len(ids)).items()}


def find_headline(metrics: Mapping[str, float]) -> str:
    """The figure that stands for all: the first box mAP, else the first mAP, else the first.

    Raises:
        ValueError: The evaluator gave nothing.
    """
    for ending in ('bbox_mAP', 'mAP', ''):
        for name in metrics:
            if name.endswith(ending):
                return name
    raise ValueError(
        'the evaluator of the test set gave no figure for the detector as it is: it found no object at all in these '
        'images; give more of them (--num), or a checkpoint that was trained for longer'
    )


def summarize(interventions: Sequence[Intervention], tallies: Sequence[Any], headline: str) -> list[Outcome]:
    """One outcome for each kind of intervention, in the order of their first seed."""
    groups: dict[tuple[str, str], list[tuple[Intervention, Any]]] = {}
    for intervention, tally in zip(interventions, tallies, strict=True):
        groups.setdefault((intervention.relation, intervention.kind), []).append((intervention, tally))
    classes = [name for name in tallies[0].metrics if name.endswith(PER_CLASS)]

    def outcome(members: Sequence[tuple[Intervention, Any]]) -> Outcome:
        runs = [tally for _, tally in members]
        # Without any detection the evaluator says nothing.
        values = [max(run.metrics.get(headline, 0.0), 0.0) for run in runs]
        return Outcome(
            relation=members[0][0].relation,
            kind=members[0][0].kind,
            explanation=members[0][0].explanation,
            ap=statistics.mean(values),
            ap_std=statistics.stdev(values) if len(values) > 1 else None,
            per_class={
                name.split('/')[-1].removesuffix(PER_CLASS): _mean([run.metrics.get(name, 0.0) for run in runs])
                for name in classes
            },
            score_change=statistics.mean(run.change / max(run.rois, 1) for run in runs),
            renamed=statistics.mean(run.renamed / max(run.rois, 1) for run in runs),
            metrics=runs[0].metrics,
            runs=len(runs),
        )

    return [outcome(members) for members in groups.values()]


def _mean(values: Sequence[float]) -> float | None:
    """None for the evaluator's -1 and NaN: no object of that class."""
    return None if any(math.isnan(value) or value < 0 for value in values) else statistics.mean(values)
