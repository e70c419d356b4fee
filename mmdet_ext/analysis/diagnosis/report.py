"""The page of a diagnosis: verdict first, then the figures and pictures it rests on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from torch import nn

from mmdet_ext.analysis.figures import save_figure
from mmdet_ext.analysis.report import write_report

from . import charts
from .evidence import Evidence
from .pictures import anchors_at_cell, draw_anchors, draw_image
from .record import ImageRecord
from .verdict import Verdict

_MAX_CLASSES = 30
# What makes the first verdict the headline.
_SERIOUS, _SURE = 0.1, 0.7


def write_diagnosis_report(
    out: Path,
    summary: Mapping[str, Any],
    evidence: Evidence,
    verdicts: Sequence[Verdict],
    worst: Sequence[ImageRecord],
    model: nn.Module,
) -> Path:
    """Draw `pictures/` and write `report.html` below `out`.

    Args:
        out: Folder.
        summary: Content of `summary.json`.
        evidence: What the rules read.
        verdicts: In order.
        worst: Images to draw.
        model: The detector, for its anchors.

    Returns:
        The page.
    """
    folder = out / 'pictures'
    splits = evidence.splits

    def saved(figure: Figure | None, name: str) -> Path | None:
        return None if figure is None else save_figure(figure, folder / f'{name}.png')

    shown: list[tuple[ImageRecord, dict[str, Path]]] = []
    lost: list[str] = []
    for record in worst:
        drawn = _draw_or_say(record, evidence.classes, folder)
        if isinstance(drawn, str):
            lost.append(drawn)
        else:
            shown.append((record, drawn))
    anchors = None
    if shown:
        first = shown[0][0]
        levels = anchors_at_cell(model, first.input_shape)
        anchors = saved(draw_anchors(first, levels), 'anchors') if levels else None
    context = {
        'summary': summary,
        'verdicts': verdicts,
        'serious': bool(verdicts) and (verdicts[0].gain >= _SERIOUS or verdicts[0].certainty >= _SURE),
        'judged': evidence.judged,
        'splits': splits,
        'classes': list(evidence.classes),
        'terms': list(dict.fromkeys(term for each in splits.values() for term in each.losses)),
        'stages': list(dict.fromkeys(name for each in splits.values() for name in each.stages)),
        'checks': sorted(evidence.checks.values(), key=lambda check: (check.passed is not False, check.passed is None)),
        'problems': evidence.problems,
        'trials': trial_rows(evidence),
        'confusion': evidence.judged.names.tolist() if len(evidence.classes) <= _MAX_CLASSES else None,
        'charts': {
            'histograms': saved(charts.draw_histograms(splits), 'scores'),
            'recall': saved(charts.draw_recall(splits), 'proposals'),
            'coverage': saved(charts.draw_coverage(splits), 'anchor_coverage'),
            'errors': saved(charts.draw_errors(splits), 'errors'),
            'losses': saved(charts.draw_losses(splits), 'losses'),
            'gradients': saved(charts.draw_gradients(evidence.gradients), 'gradients'),
            'anchors': anchors,
        },
        'images': shown,
        'weights': evidence.weights,
        'limits': [*evidence.limits, *lost],
    }
    return write_report(out / 'report.html', 'diagnosis.html.j2', context)


def _draw_or_say(record: ImageRecord, classes: Sequence[str], folder: Path) -> dict[str, Path] | str:
    """Pictures of an image, or why there are none: it is gone since, or of a format that needs its own reader."""
    try:
        return draw_image(record, classes, folder)
    except FileNotFoundError as error:
        return f'no pictures: {error}'


TRIAL_WORDS = {
    'plain': 'as it is',
    'channels': 'channels in reverse order',
    'pixels_raw': 'pixels not normalised',
    'pixels_unit': 'pixels from 0 to 1',
    'pixels_imagenet': "ImageNet's mean and std",
    'half': 'input of half size',
    'double': 'input of double size',
    'transposed': 'x and y of the annotations exchanged',
    'labels_up': 'labels one up',
    'labels_down': 'labels one down',
}


def trial_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """Rows for the table of trials: words, and for each split loss, AP and whether the loss fell."""
    names = list(dict.fromkeys(name for trials in evidence.trials.values() for name in trials))
    rows = []
    for name in names:
        cells = {}
        for split, trials in evidence.trials.items():
            figures, plain = trials.get(name, {}), trials.get('plain', {})
            loss, before = figures.get('loss'), plain.get('loss')
            better = name != 'plain' and loss is not None and before is not None and loss < before
            cells[split] = {'loss': loss, 'ap': figures.get('ap'), 'better': better}
        rows.append({'name': name, 'words': TRIAL_WORDS.get(name, name), 'cells': cells})
    return rows
