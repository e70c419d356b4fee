"""Does a relation matter, and what has it learnt? A trained detector is disturbed, measured and drawn."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from tabulate import tabulate
from tqdm import tqdm

from mmdet_ext.utils.provenance import collect_versions

from ..plain_values import plain
from .detector import ProbedDetector, count_parameters
from .effects import ClassEffects
from .interventions import find_interventions
from .measure import Outcome, mean_features, measure
from .nodes import RelationNode, find_relations, relation_head
from .partners import ImageView, view_image
from .record import MapRecorder, PredictionRecorder
from .report import Probe, write_probe_report
from .verdict import Verdict, give_verdicts

SEEDS = (0, 1, 2)
THRESHOLD, SCORE_THRESHOLD = 0.01, 0.05
SCORE_THR = 0.3
MAX_PICTURES = 4


def run_probe(
    config: str | Path,
    checkpoint: str | Path,
    out: str | Path = 'work_dirs/relation_probe',
    *,
    num: int | None = None,
    images: Sequence[str] = (),
    stage: int | None = None,
    seeds: Sequence[int] = SEEDS,
    threshold: float = THRESHOLD,
    cfg_options: Mapping[str, Any] | None = None,
    command: str = '',
) -> dict[str, Any]:
    """Disturb the relations of a trained detector, measure what becomes of it, and write a report.

    Args:
        config: Config file.
        checkpoint: The weights.
        out: Folder for `report.html`, `summary.json` and pictures.
        num: Number of images of the test set, the first ones; None for all.
        images: File names or ids of images to draw; default: the first with several detections.
        stage: Which stage of a cascade; default the last one with relations.
        seeds: Of what is random.
        threshold: Change of AP from which a relation is said to matter.
        cfg_options: Dotted key to value, merged into the config.
        command: Stored with the numbers.

    Returns:
        What was written to `summary.json`.

    Raises:
        FileNotFoundError: Config, checkpoint or category graph is missing.
        ValueError: Faulty data, a detector without relations, a checkpoint of another model or of other classes, an
            unknown image, or a stage without relations.
    """
    detector = ProbedDetector(config, checkpoint, num, cfg_options)
    nodes = find_relations(relation_head(detector.model, stage))
    drawn = detector.find_images(images) if images else None
    effects = ClassEffects(detector, nodes)
    means = mean_features(detector, nodes, effects.look)
    interventions = find_interventions(nodes, means, seeds)
    print_log(f'{len(detector.dataset)} images, {len(nodes)} relations, {len(interventions)} interventions')
    total = len(detector.loader)
    outcomes = measure(detector, interventions, lambda batches: tqdm(batches, 'batches', total, disable=None))
    verdicts = give_verdicts(outcomes, threshold, SCORE_THRESHOLD)
    summary = {
        'config': str(config),
        'checkpoint': str(checkpoint),
        'command': command,
        'images': len(detector.dataset),
        'stage': stage,
        'seeds': list(seeds),
        'threshold': threshold,
        'score_threshold': SCORE_THRESHOLD,
        'classes': list(detector.classes),
        'parameters': count_parameters(detector.model),
        'versions': collect_versions(),
        'note': 'Measured at test time on one training. Whether a relation helped needs a training without it.',
        'outcomes': [asdict(outcome) for outcome in outcomes],
        'verdicts': [
            {'relation': each.relation, 'verdict': each.word, 'sentence': each.sentence, 'inside': each.inner}
            for each in verdicts
        ],
        'class_tables': [
            {'relation': table.relation, 'kind': table.kind, 'values': _rounded(table.values)}
            for table in effects.tables()
        ],
    }
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / 'summary.json').write_text(json.dumps(plain(summary), indent=2) + '\n', encoding='utf-8')
    views = view_images(detector, nodes, drawn)
    probe = Probe(summary, nodes, outcomes, verdicts, effects.tables(), views, detector.classes)
    print_log(f'\n{format_verdicts(outcomes, verdicts)}\n')
    print_log(f'Look at {write_probe_report(out, probe)}; numbers: {out / "summary.json"}')
    return summary


def view_images(
    detector: ProbedDetector, nodes: Sequence[RelationNode], places: Sequence[int] | None
) -> list[ImageView]:
    """What is drawn of some images.

    Args:
        detector: The detector.
        nodes: Its relations.
        places: Of the images in the whole test set; None: the first of the looked-at ones with two detections or more.
    """
    views: list[ImageView] = []
    with PredictionRecorder(detector.model.roi_head) as predictions, MapRecorder(nodes) as recorder:
        for place in range(len(detector.dataset)) if places is None else places:
            recorder.clear()
            predictions.last = None
            (sample,) = detector.predict(detector.prepare(pseudo_collate([detector.whole[place]])))
            if predictions.last is not None:
                view = view_image(sample, 0, predictions.last, recorder.seen, nodes, detector.classes, SCORE_THR)
                if places is not None or len(view.detections) > 1:
                    views.append(view)
            if places is None and len(views) == MAX_PICTURES:
                break
    return views


def format_verdicts(outcomes: Sequence[Outcome], verdicts: Sequence[Verdict]) -> str:
    """The verdicts as a table for the console."""
    plain = outcomes[0]
    rows = [
        (
            each.relation,
            each.word,
            f'{each.removed.ap - plain.ap:+.3f}',
            f'{each.removed.score_change:.3f}',
            f'{each.removed.renamed:.1%}',
        )
        for each in verdicts
    ]
    headers = ('relation', 'at test time it', 'AP without it', 'score change', 'renamed')
    return f'AP as it is: {plain.ap:.3f}\n' + tabulate(rows, headers, disable_numparse=True)


def _rounded(values: np.ndarray) -> list[list[float | None]]:
    return [[round(float(value), 5) for value in row] for row in values]
