"""The demo's page and pictures: what its template needs, computed from the results and the stored predictions."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.fileio import load
from numpy.typing import NDArray

from mmdet_ext.datasets.chest_phantom import CLASSES
from mmdet_ext.evaluation.objects import Objects

from ..detection_pictures import choose_images, class_colors, draw_comparison
from ..naming import count_names, read_annotations, read_predictions
from ..report import write_report

RULES = (
    ('small round opacity', 'nodule', 'has one of them'),
    ('small round opacity', 'multiple nodules', 'has two to four of them'),
    ('small round opacity', 'diffuse nodules', 'has five or more of them'),
    ('blurred opacity of medium size', 'tuberculosis', 'has a cavity'),
    ('blurred opacity of medium size', 'atelectasis', 'has an effusion and no cavity'),
    ('blurred opacity of medium size', 'consolidation', 'has neither'),
)
CONTEXT_CLASSES = tuple(name for _, name, _ in RULES)
SCORE_THR = 0.3
_PARTNERS = {'baseline': 'plain', 'relation': 'relation'}


def write_demo_report(work_dir: Path, data: Path, results: Mapping[str, Any], cfg: Config, *, shortened: bool) -> Path:
    """Draw `pictures/` and write `report.html` below `work_dir`.

    Args:
        work_dir: The demo's folder, with `category_graph.png` and `predictions.pkl` of both detectors.
        data: Folder of the phantom.
        results: Content of `results.json`.
        cfg: Config of the relation detector.
        shortened: Whether this was a trial run with fewer images or epochs than the demo has.

    Returns:
        The page.
    """
    ann_file = data / 'annotations' / 'val.json'
    truth = read_annotations(ann_file, CLASSES)
    names = {image['id']: image['file_name'] for image in load(ann_file)['images']}
    found = {key: read_predictions(work_dir / key / 'predictions.pkl') for key in _PARTNERS}
    pictures = _draw_pictures(work_dir / 'pictures', data / 'images' / 'val', names, truth, found)
    plain, ours = results['baseline'], results['relation']
    others = [name for name in CLASSES if name not in CONTEXT_CLASSES]
    other_plain, other_ours = (_mean([run['per_class'][name] for name in others]) for run in (plain, ours))
    relations = find_relations(cfg)
    context = {
        'results': results,
        'shortened': _describe_trial(results) if shortened else '',
        'gain': _minus(ours['context_mAP'], plain['context_mAP']),
        'other_gain': _minus(other_ours, other_plain),
        'verdict': give_verdict(plain['context_mAP'], ours['context_mAP']),
        'rules': RULES,
        'relations': relations,
        'uses_graph': any('CategoryGraph' in name for name, _ in relations),
        'colors': class_colors(CLASSES),
        'table': _tabulate(plain, ours, truth),
        'families': _compare_names(truth, found),
        'score_thr': SCORE_THR,
        'pictures': pictures,
        'graph': work_dir / 'category_graph.png',
    }
    return write_report(work_dir / 'report.html', 'demo.html.j2', context)


def give_verdict(plain: float | None, ours: float | None) -> str:
    """One sentence on the look-alikes that says no more than the two numbers do."""
    if plain is None or ours is None:
        return 'The validation images have no look-alikes: nothing can be compared.'
    numbers = f'on the six look-alike classes, mean AP {ours:.3f} against {plain:.3f} of the plain one'
    if ours > plain:
        return f'In this run the relation detector is ahead {numbers}.'
    return f'In this run the relation detector is not ahead {numbers}.'


def find_relations(cfg: Config) -> list[tuple[str, str]]:
    """Name and first sentence of the docstring of each relation in the box head, nested ones after their parent."""

    def walk(relations: Any) -> list[tuple[str, str]]:
        found = []
        for relation in relations:
            described = inspect.getdoc(MODELS.get(relation['type'])) or ''
            found += [
                (relation['type'], ' '.join(described.split('\n\n')[0].split())),
                *walk(relation.get('relations', [])),
            ]
        return found

    relations = cfg.model.roi_head.bbox_head.get('relations', [])
    return walk([relations] if isinstance(relations, dict) else relations)


def _draw_pictures(
    folder: Path,
    images: Path,
    names: Mapping[int, str],
    truth: Mapping[int, Objects],
    found: Mapping[str, Mapping[int, Objects]],
) -> list[dict[str, Any]]:
    pictures = []
    for image_id in choose_images(truth, [CLASSES.index(name) for name in CONTEXT_CLASSES]):
        file = images / names[image_id]
        detections = {title: found[key][image_id] for key, title in _PARTNERS.items()}
        drawn = draw_comparison(file, truth[image_id], detections, CLASSES, folder / f'{file.stem}.jpg', SCORE_THR)
        counts = np.bincount(truth[image_id].labels, minlength=len(CLASSES))
        content = ', '.join(f'{count} × {name}' for name, count in zip(CLASSES, counts, strict=True) if count)
        pictures.append({'file': drawn, 'name': file.name, 'content': content})
    return pictures


def _tabulate(
    plain: Mapping[str, Any], ours: Mapping[str, Any], truth: Mapping[int, Objects]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Groups of rows for the table of average precision."""
    counts = np.bincount(np.concatenate([objects.labels for objects in truth.values()]), minlength=len(CLASSES))

    def row(name: str, first: float | None, second: float | None, objects: int | None, strong: bool) -> dict[str, Any]:
        difference = _minus(second, first)
        return {
            'name': name,
            'plain': first,
            'ours': second,
            'difference': difference,
            'objects': objects,
            'strong': strong,
        }

    def rows_of(names: Any) -> list[dict[str, Any]]:
        rows = [
            row(name, plain['per_class'][name], ours['per_class'][name], int(counts[CLASSES.index(name)]), False)
            for name in names
        ]
        means = [_mean([each[key] for each in rows]) for key in ('plain', 'ours')]
        return [*rows, row('mean', means[0], means[1], sum(each['objects'] for each in rows), True)]

    whole = [
        row(title, plain[key], ours[key], int(counts.sum()), True)
        for title, key in (('mAP', 'bbox_mAP'), ('mAP at IoU 0.50', 'bbox_mAP_50'))
    ]
    return [
        ('Told apart by context only', rows_of(CONTEXT_CLASSES)),
        ('Look like themselves', rows_of([name for name in CLASSES if name not in CONTEXT_CLASSES])),
        ('All ten classes', whole),
    ]


def _compare_names(truth: Mapping[int, Objects], found: Mapping[str, Mapping[int, Objects]]) -> list[dict[str, Any]]:
    """For each family of look-alikes how often both detectors gave which name."""
    counts = {key: count_names(truth, found[key], len(CLASSES), SCORE_THR) for key in _PARTNERS}
    families = []
    for look in dict.fromkeys(look for look, _, _ in RULES):
        names = [name for each, name, _ in RULES if each == look]
        members = [CLASSES.index(name) for name in names]
        families.append({
            'title': look, 'classes': names, 'columns': [*names, 'another', 'not found'],
            'plain': _fold(counts['baseline'], members), 'ours': _fold(counts['relation'], members),
        })  # fmt: skip
    return families


def _fold(counts: NDArray[np.int64], members: list[int]) -> list[list[int]]:
    """Rows of some classes; columns: the same classes, all others together, not found."""
    rows = counts[members]
    others = rows[:, :-1].sum(axis=1) - rows[:, members].sum(axis=1)
    return np.column_stack([rows[:, members], others, rows[:, -1]]).tolist()


def _describe_trial(results: Mapping[str, Any]) -> str:
    images, epochs = results['images'], results['epochs']
    return f'{images["train"]} training images, {images["val"]} validation images, {epochs} epoch{"s" * (epochs != 1)}.'


def _mean(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return sum(numbers) / len(numbers) if numbers else None


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second
