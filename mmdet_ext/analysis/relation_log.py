"""The README of the relation log's experiments: each row with its config, the log's figures, and ours."""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate

HEADERS = (
    'row',
    'what it is',
    'boxes, or words, of the log',
    'log, IoU 0.01',
    'log, IoU 0.5',
    'ours, IoU 0.01',
    'ours, IoU 0.5',
    'ours, COCO',
)
METRICS = ('iou01/bbox_mAP', 'iou50/bbox_mAP', 'coco/bbox_mAP')
_TEST_ROIS = 'model.test_cfg.rpn.max_per_img'
# The log's last block; its mask-rcnn.pytorch and mmdet.
_LOSSES = (
    ('loss', '0.59', '0.7319'),
    ('acc', '0.945', '92.4668'),
    ('loss_cls', '0.15', '0.2215'),
    ('loss_bbox', '0.08', '0.1209'),
    ('loss_mask', '0.25', '0.3485'),
    ('loss_rpn_cls', '0.06', '0.0291'),
    ('loss_rpn_bbox', '0.02', '0.0120'),
)


def describe_config(file: Path) -> str:
    """The first sentence of the second paragraph of a config's docstring; the first paragraph quotes the log.

    Raises:
        FileNotFoundError: There is no such config.
        ValueError: Its docstring has no second paragraph.
    """
    if not file.is_file():
        raise FileNotFoundError(f'{file} is a row of the log, but there is no such config')
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or ''
    paragraphs = docstring.split('\n\n')
    if len(paragraphs) < 2:
        raise ValueError(f'{file}: the docstring must quote the log, and say in a second paragraph what the config is')
    return re.split(r'(?<=\.) ', ' '.join(paragraphs[1].split()))[0]


def read_results(files: Iterable[Path]) -> dict[tuple[str, int | None], Mapping[str, Any]]:
    """What was measured: `(config, RoIs at test time or None for the config's own)` to the arm of an ablation.

    Args:
        files: each an `ablation.json` of `tools/analysis_tools/ablate.py`.

    Raises:
        ValueError: A file is not of this kind, a row is in two of them, or an arm has other options than RoIs at test
            time and `load_from`.
    """
    results: dict[tuple[str, int | None], Mapping[str, Any]] = {}
    for file in files:
        arms = json.loads(file.read_text(encoding='utf-8')).get('arms')
        if not isinstance(arms, dict):
            raise ValueError(f'{file} has no arms: give the ablation.json of tools/analysis_tools/ablate.py')
        for name, arm in arms.items():
            options = dict(arm['options'])
            key = Path(arm['config']).stem, options.pop(_TEST_ROIS, None)
            # Where the checkpoint lies that a row starts from.
            options.pop('load_from', None)
            if options:
                raise ValueError(f'{file}: arm {name} changes {", ".join(options)}, so it is no row of the log')
            if key in results:
                raise ValueError(f'{file}: arm {name} has been measured in another file, too; give one of them')
            results[key] = arm
    return results


def _ours(arm: Mapping[str, Any] | None) -> Iterator[str]:
    """A cell for each metric, in percent as in the log."""
    for metric in METRICS:
        spread = None if arm is None else arm['metrics'].get(metric)
        if spread is None:
            yield ''
        else:
            yield f'{100 * spread["mean"]:.1f}' + ('' if spread['std'] is None else f' ± {100 * spread["std"]:.1f}')


def _section(rows: Sequence[Mapping[str, Any]], folder: Path, results: Mapping[Any, Any]) -> str:
    """The table of a section; a row with several figures fills several lines."""
    lines = []
    for row in rows:
        name = row['config']
        for place, figure in enumerate(row.get('figures', [{}])):
            first = (f'[`{name}`]({name}.py)', describe_config(folder / f'{name}.py')) if not place else ('', '')
            theirs = (f'{figure[key]:.2f}' if key in figure else '' for key in ('mAP01', 'mAP50'))
            ours = results.get((name, figure.get('rois'))) if 'rois' in figure or not place else None
            lines.append([*first, str(figure.get('boxes', '')), *theirs, *_ours(ours)])
    return tabulate(lines, headers=HEADERS, tablefmt='github', disable_numparse=True)


def format_relation_log(folder: str | Path, results: Iterable[str | Path] = ()) -> str:
    """The README of a folder of experiments.

    Args:
        folder: Configs, and `log.yml` with the figures of the log.
        results: See `read_results`.

    Raises:
        FileNotFoundError: `log.yml` or a config is missing.
        ValueError: A config is no row of `log.yml`, a docstring is too short, or the results cannot be used.
    """
    folder = Path(folder)
    sections = yaml.safe_load((folder / 'log.yml').read_text(encoding='utf-8'))
    known = [row['config'] for section in sections for row in section['rows']]
    extra = sorted({file.stem for file in folder.glob('*.py')} - set(known))
    if extra:
        raise ValueError(f'{folder}/log.yml has no row for {", ".join(extra)}; add it')
    measured = read_results(map(Path, results))
    env = Environment(
        loader=FileSystemLoader(Path(__file__).with_name('templates')),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    text = env.get_template('relation_log.md.j2').render(
        sections=[
            {'title': section['section'], 'table': _section(section['rows'], folder, measured)} for section in sections
        ],
        ours_note=f'Ours: {len({name for name, _ in measured} & set(known))} of {len(known)} rows have been run.',
        losses=tabulate(_LOSSES, headers=('', 'mask-rcnn.pytorch', 'mmdet'), tablefmt='github', disable_numparse=True),
    )
    return re.sub(r'\n{3,}', '\n\n', text)
