"""The page and the pictures of the relation probe."""

import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.models.relations import SpatialGraphRelation

from ..report import write_report
from .effects import ClassTable
from .measure import Outcome
from .nodes import RelationNode
from .partners import ImageView
from .pictures import draw_kernels, draw_partners, draw_table, save
from .verdict import WORDS, Verdict

_REMOVED_OTHERWISE = 'removed (zero)'
_MAX_OCTAVES = 4.0


@dataclass
class Probe:
    """All that the report tells.

    Attributes:
        summary: Content of `summary.json`.
        nodes: The relations.
        outcomes: The undisturbed detector first.
        verdicts: One per relation.
        tables: What was learnt about classes.
        views: Images to draw.
        classes: Class names.
    """

    summary: Mapping[str, Any]
    nodes: Sequence[RelationNode]
    outcomes: Sequence[Outcome]
    verdicts: Sequence[Verdict]
    tables: Sequence[ClassTable]
    views: Sequence[ImageView]
    classes: Sequence[str]


def write_probe_report(out: Path, probe: Probe) -> Path:
    """Draw `pictures/` and write `report.html` below `out`.

    Returns:
        The page.
    """
    pictures = out / 'pictures'
    plain = probe.outcomes[0]
    rows = _rows(probe)
    context = {
        'summary': probe.summary,
        'plain': plain,
        'verdicts': [(each, _describe(probe.nodes, each.relation)) for each in probe.verdicts],
        'counted': _count_words(probe),
        'groups': rows,
        'largest': max((abs(row['outcome'].score_change) for _, own in rows for row in own), default=0.0) or 1.0,
        'kinds': {each.kind: each.explanation for each in probe.outcomes[1:]},
        'per_class': _draw_per_class(pictures, probe),
        'tables': [(table, _draw_class_table(pictures, table, probe.classes)) for table in probe.tables],
        'kernels': [
            (node.name, save(draw_kernels(node.relation), pictures / f'kernels_{_file(node.name)}.png'))
            for node in probe.nodes
            if isinstance(node.relation, SpatialGraphRelation) and node.relation.kernel != 'none'
        ],
        'views': [_draw_view(pictures, view, probe.classes) for view in probe.views],
    }
    return write_report(out / 'report.html', 'relation_probe.html.j2', context)


def _rows(probe: Probe) -> list[tuple[str, list[dict[str, Any]]]]:
    """Groups of rows for the table of all interventions."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for outcome in probe.outcomes[1:]:
        row = {'outcome': outcome, 'difference': outcome.ap - probe.outcomes[0].ap}
        groups.setdefault(outcome.relation, []).append(row)
    return list(groups.items())


def _count_words(probe: Probe) -> dict[str, int]:
    """How many relations have which verdict; compositions are not counted."""
    single = {node.name for node in probe.nodes if not node.members}
    words = [each.word for each in probe.verdicts if each.relation in single]
    return {'all': len(words)} | {word: words.count(word) for word in WORDS}


def _describe(nodes: Sequence[RelationNode], name: str) -> str:
    """What a relation does: the first sentence of its docstring; of a composition, its members."""
    relation = next(node.relation for node in nodes if node.name == name)
    members = getattr(relation, 'members', ())
    if len(members):
        return 'all together: ' + ', '.join(type(member).__name__.removesuffix('Relation') for member in members)
    summary = ' '.join((inspect.getdoc(type(relation)) or '').split('\n\n')[0].split())
    return re.sub(r'(?::\w+:)?`~?\.?([^`]*)`', r'\1', summary)


def _file(name: str) -> str:
    return name.replace(' ', '_').replace('.', '-')


def _draw_per_class(folder: Path, probe: Probe) -> Path | None:
    plain, others = probe.outcomes[0], probe.outcomes[1:]
    names = [name for name, value in plain.per_class.items() if value is not None]
    rows = {
        f'{each.relation}: {each.kind}': [_minus(each.per_class[name], plain.per_class[name]) for name in names]
        for each in others
        if each.kind != _REMOVED_OTHERWISE
    }
    felt = {name: row for name, row in rows.items() if any(_sign(value) for value in row)}
    if not felt:
        return None
    figure = draw_table(
        np.array(list(felt.values())), list(felt), names, write=_sign, spread=0.2, note='AP more (blue) or less (red)'
    )
    return save(figure, folder / 'per_class.png')


def _sign(value: float, digits: int = 2) -> str:
    """A difference; nothing where it rounds to zero."""
    return f'{value:+.{digits}f}' if np.isfinite(value) and round(value, digits) else ''


def _minus(first: float | None, second: float | None) -> float:
    return np.nan if first is None or second is None else first - second


def _draw_class_table(folder: Path, table: ClassTable, classes: Sequence[str]) -> Path:
    shown = [row for row in range(len(classes)) if table.rois[row]]
    rows = [f'{classes[row]} ({table.rois[row]})' for row in shown]
    columns, values = [*classes, 'background'], table.values[shown]
    if table.kind == 'effect':
        figure = draw_table(
            100 * values, rows, columns, labels=('RoIs called', 'class node'), colors='RdBu_r', spread=5,
            write=lambda value: _sign(value, 1), note='hundredths of probability',
        )  # fmt: skip
    else:
        with np.errstate(divide='ignore'):
            octaves = np.clip(np.log2(values), -_MAX_OCTAVES, _MAX_OCTAVES)
        figure = draw_table(
            octaves, rows, columns, labels=('RoIs called', 'weigh RoIs called'), colors='RdBu_r', spread=2,
            write=lambda value: _times(2**value), note='powers of two',
        )  # fmt: skip
    return save(figure, folder / f'{table.kind}_{_file(table.relation)}.png')


def _times(value: float) -> str:
    """How many times as much; the ends of the scale stand for all beyond."""
    if value <= 2**-_MAX_OCTAVES:
        return '< 0.1'
    return '> 16' if value >= 2**_MAX_OCTAVES else f'{value:.{1 if value > 0.995 else 2}f}'


def _draw_view(folder: Path, view: ImageView, classes: Sequence[str]) -> dict[str, Any]:
    stem = Path(view.file).stem
    figure = draw_partners(view, classes)
    labels = view.detections.labels
    found = [(name, int((labels == index).sum())) for index, name in enumerate(classes) if (labels == index).any()]
    return {
        'name': Path(view.file).name,
        'picture': None if figure is None else save(figure, folder / f'partners_{stem}.png'),
        'found': found,
        'counts': [
            (name, [(each, counts[index]) for index, each in enumerate(classes) if counts[index] >= 0.1])
            for name, counts in view.counts.items()
        ],
        'speaks': [
            (name, sorted(zip([*classes, 'background'], shares, strict=True), key=lambda pair: -pair[1])[:3])
            for name, shares in view.speaks.items()
        ],
    }
