"""Screening: which images a training had better leave out, with reasons and a way back.

The rules read what a diagnosis (`tools/analysis_tools/diagnose.py`) has written of the training split into
`per_image.csv`, and the annotation file. Only training images are screened: results on screened ones say nothing.
"""

import json
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_ext.datasets.screened_list import listed_image, read_screened_list, write_screened_list
from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import hash_file

from ..tables import markdown_table, write_csv
from .rules import RULES, Limits, judge_images
from .sources import (
    ImageFacts,
    Record,
    check_columns,
    find_bad_annotations,
    match_rows,
    read_annotations,
    read_per_image,
)

LIST = 'screened.json'


def screen_images(
    ann_file: str | Path, per_image: str | Path, out: str | Path, limits: Limits | None = None, max_share: float = 0.5,
    control: int | None = None, truth: str | Path | None = None, say: Callable[[str], None] = print,
) -> dict[str, Any]:  # fmt: skip
    """Judge the images of an annotation file and write what is left.

    Writes `<annotation file>_screened.json` (the file without the dropped images), `screened.json` (the dropped images
    with reasons, and all that `undo_screening` needs; `ScreenedCocoDataset` reads it), and `screening.csv` (every
    image, those with the most reasons and then the highest loss first).

    Args:
        ann_file: COCO json that was diagnosed as the training split; it stays as it is.
        per_image: Of the diagnosis.
        out: Folder to write into.
        limits: Rules; default those of `Limits`.
        max_share: Largest share of the images that may be dropped.
        control: Seed of a list `control.json` of as many images by chance: what screening has to be compared with.
        truth: List of images that are known to be bad, such as that of `plant_label_noise`: how many are found.
        say: Prints a line for the user.

    Returns:
        Content of `screened.json` without `removed`, and `against` (see `compare_lists`) where `truth` is given.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file is not what it should be, files do not belong together, or too many images would be dropped.
    """
    limits = limits or Limits()
    if not 0 < max_share <= 1:
        raise ValueError(f'--max-share must be above 0 and at most 1, got {max_share}')
    coco = read_annotations(ann_file)
    rows, columns = read_per_image(per_image)
    check_columns(columns, limits.columns, str(per_image))
    matched = match_rows(coco['images'], rows, str(per_image), str(ann_file))
    bad = find_bad_annotations(coco)
    facts = [
        ImageFacts(image, row, bad.get(image['id'], [])) for image, row in zip(coco['images'], matched, strict=True)
    ]
    verdicts, threshold = judge_images(facts, limits)
    dropped = [place for place, reasons in enumerate(verdicts) if reasons]
    say(_table(verdicts, limits))
    if len(dropped) > max_share * len(facts):
        raise ValueError(
            f'the rules would drop {len(dropped)} of {len(facts)} images, more than the share {max_share:g} '
            '(--max-share): choose fewer --rules, a higher --loss-quantile or a smaller --min-side'
        )
    out = Path(out)
    filtered = out / f'{Path(ann_file).stem}_screened.json'
    removed = _remove(coco, {facts[place].image['id'] for place in dropped})
    write_json(filtered, coco)
    entries = _ranked([_entry(facts[place], verdicts[place], limits) for place in dropped])
    result: dict[str, Any] = {
        'ann_file': str(ann_file),
        'per_image': str(per_image),
        'filtered': {'file': filtered.name, 'sha256': hash_file(filtered)},
        'limits': vars(limits) | {'rules': list(limits.rules), 'loss': None if math.isnan(threshold) else threshold},
        'number': {'images': len(facts), 'measured': sum(row is not None for row in matched), 'dropped': len(dropped)},
        'command': shlex.join(['python', *sys.argv]),
    }
    if truth is not None:
        result['against'] = compare_lists([item.image['id'] for item in facts], entries, truth)
    write_screened_list(out / LIST, entries, **result, removed=removed)
    _write_ranking(out / 'screening.csv', facts, verdicts, limits)
    if control is not None:
        chance = sorted(np.random.default_rng(control).permutation(len(facts))[: len(dropped)].tolist())
        by_chance = [listed_image(facts[place].image, ['control: by chance']) for place in chance]
        write_screened_list(out / 'control.json', by_chance, ann_file=str(ann_file), seed=control)
    for line in _describe(result, out):
        say(line)
    return {**result, 'images': entries}


def undo_screening(screened: str | Path, out: str | Path | None = None) -> Path:
    """Put the dropped images back: the annotation file as it was before, from what was written beside it.

    Args:
        screened: The `screened.json`, with the filtered annotation file beside it.
        out: File to write; default `<name>_restored.json` beside it.

    Returns:
        The path written.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: The list is not of a screening, or the filtered file was changed since.
    """
    content = read_screened_list(screened)
    if not {'filtered', 'removed', 'ann_file'} <= set(content):
        raise ValueError(
            f'{screened} is no list of a screening, so there is nothing to put back; give its screened.json'
        )
    filtered = Path(screened).with_name(content['filtered']['file'])
    if not filtered.is_file():
        raise FileNotFoundError(f'There is no {filtered}, which {screened} was written with; put it there.')
    if hash_file(filtered) != content['filtered']['sha256']:
        raise ValueError(f'{filtered} was changed after the screening: undo on the file as it was, or screen anew')
    coco = json.loads(filtered.read_text(encoding='utf-8'))
    for key, entries in content['removed'].items():
        for place, entry in entries:
            coco[key].insert(place, entry)
    return write_json(out or filtered.with_name(f'{Path(content["ann_file"]).stem}_restored.json'), coco)


def compare_lists(images: Sequence[Any], dropped: Sequence[Mapping[str, Any]], truth: str | Path) -> dict[str, Any]:
    """Compare what is dropped with the images that are known to be bad.

    Args:
        images: Ids of all images.
        dropped: Entries of a list.
        truth: List of the bad images.

    Returns:
        `bad`, `dropped`, `found` (both), `precision` (found of the dropped; None without), `recall` (found of the bad),
        `chance` (the precision of images by chance), `kinds` (first reason of the bad to its recall).

    Raises:
        ValueError: The list has an image that is not there, or no image.
    """
    bad = {item['image_id']: str((item.get('reasons') or ['bad'])[0]) for item in read_screened_list(truth)['images']}
    strange = set(bad) - set(images)
    if strange or not bad:
        what = (
            f'has images that the annotation file lacks, such as id {min(map(str, strange))}' if strange else 'is empty'
        )
        raise ValueError(f'{truth} {what}: give a list of the annotation file that is screened')
    found = [item['image_id'] for item in dropped if item['image_id'] in bad]
    kinds = {
        kind: sum(bad[key] == kind for key in found) / list(bad.values()).count(kind)
        for kind in sorted(set(bad.values()))
    }
    return {
        'bad': len(bad),
        'dropped': len(dropped),
        'found': len(found),
        'precision': len(found) / len(dropped) if dropped else None,
        'recall': len(found) / len(bad),
        'chance': len(bad) / len(images),
        'kinds': kinds,
    }


def _remove(coco: Record, ids: set[Any]) -> dict[str, list[tuple[int, Record]]]:
    """Take images and their annotations out; gives each with the place it was at."""
    removed = {}
    for key, name in (('images', 'id'), ('annotations', 'image_id')):
        removed[key] = [(place, entry) for place, entry in enumerate(coco[key]) if entry.get(name) in ids]
        coco[key] = [entry for entry in coco[key] if entry.get(name) not in ids]
    return removed


def _entry(facts: ImageFacts, reasons: Mapping[str, str], limits: Limits) -> dict[str, Any]:
    value = facts.measured.numbers.get(limits.loss_column) if facts.measured else None
    texts = [f'{rule}: {reason}' for rule, reason in reasons.items()]
    return listed_image(facts.image, texts) | {'loss': value if value is not None and math.isfinite(value) else None}


def _ranked(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those with the most reasons first, then by loss: one that is not finite first, those without one last."""

    def place(item: Mapping[str, Any]) -> tuple[int, float]:
        if item['loss'] is None:
            endless = any(reason.startswith('loss:') for reason in item['reasons'])
            return -len(item['reasons']), -math.inf if endless else math.inf
        return -len(item['reasons']), -item['loss']

    return sorted(entries, key=place)


def _table(verdicts: Sequence[Mapping[str, str]], limits: Limits) -> str:
    rows = []
    for rule in limits.rules:
        own = [reasons for reasons in verdicts if rule in reasons]
        alone = sum(len(reasons) == 1 for reasons in own)
        rows.append([rule, str(len(own)), str(alone), RULES[rule].meaning])
    return markdown_table(['rule', 'images', 'by this rule alone', 'meaning'], rows)


def _write_ranking(
    path: Path, facts: Sequence[ImageFacts], verdicts: Sequence[Mapping[str, str]], limits: Limits
) -> None:
    entries = _ranked([_entry(item, reasons, limits) for item, reasons in zip(facts, verdicts, strict=True)])
    rows = [
        [rank, item['image_id'], item['file_name'], item['loss'], 'yes' if item['reasons'] else 'no', *item['reasons']]
        for rank, item in enumerate(entries, start=1)
    ]
    width = max(len(row) for row in rows)
    head = ['rank', 'image_id', 'file_name', limits.loss_column, 'dropped', *['reason'] * (width - 5)]
    write_csv(path, head, [[*row, *[None] * (width - len(row))] for row in rows])


def _describe(result: Mapping[str, Any], out: Path) -> list[str]:
    number = result['number']
    lines = [f'\n{number["dropped"]} of {number["images"]} images are left out.']
    if number['measured'] < number['images']:
        lines.append(
            f'{number["images"] - number["measured"]} images have no row in {result["per_image"]} and were judged by '
            'their annotations alone.'
        )
    if (found := result.get('against')) is not None:
        precision = 'none dropped' if found['precision'] is None else f'{found["precision"]:.0%} of the dropped are bad'
        kinds = ', '.join(f'{kind} {share:.0%}' for kind, share in found['kinds'].items())
        lines.append(
            f'Of {found["bad"]} bad images {found["found"]} are found ({found["recall"]:.0%}; {kinds}); {precision} '
            f'(by chance {found["chance"]:.0%}).'
        )
    lines.append(
        f'Train on {out / result["filtered"]["file"]}; the images and reasons: {out / LIST}, {out}/screening.csv'
    )
    return lines
