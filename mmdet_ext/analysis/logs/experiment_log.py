"""The README of the experiments of somebody's log: each row with its config, the log's figures, and ours.

A folder of configs has a `log.yml`:

```yaml
template: relation_rcnn.md.j2     # of mmdet_ext/analysis/templates: the text around the tables
digits: 2                         # of the log's figures, where they are no whole numbers and no words
columns: {AP: log, rois: RoIs}    # the log's figures: name to header
ours: {coco/bbox_mAP: ours}       # what is measured: metric to header
scale: 100                        # ours in the unit of the log, with `ours_digits`
ours_digits: 1
options: {rois: model.test_cfg.rpn.max_per_img}   # figures that ask for a measurement of their own, by this option
results: relation_experiments*.json               # in benchmarks/: each an ablation.json of ablate.py
sections:
  - section: Title
    rows:
      - config: one               # a file beside log.yml, whose docstring quotes the log and then says what it is
        figures: [{AP: 43.61}, {AP: 44.06, rois: 16}]
```
"""

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import tabulate

from ..readme_tables import fill_tables

_NEEDED = {'template', 'columns', 'ours', 'results', 'sections'}
_KEYS = {*_NEEDED, 'digits', 'scale', 'ours_digits', 'options'}


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


def read_log(file: Path) -> dict[str, Any]:
    """The content of a `log.yml`, with defaults.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A key is missing or unknown, or a figure is in no column.
    """
    if not file.is_file():
        raise FileNotFoundError(f'there is no {file}, which says what rows the log has; give a folder that has one')
    log = yaml.safe_load(file.read_text(encoding='utf-8'))
    if not isinstance(log, dict) or not _NEEDED <= set(log) <= _KEYS:
        given = ', '.join(log) if isinstance(log, dict) else type(log).__name__
        raise ValueError(
            f'{file} has {given}; needed are {", ".join(sorted(_NEEDED))}, allowed are also '
            f'{", ".join(sorted(_KEYS - _NEEDED))}'
        )
    log = {'digits': 2, 'scale': 1, 'ours_digits': 3, 'options': {}, **log}
    for row in (row for section in log['sections'] for row in section['rows']):
        unknown = (
            {key for figure in row.get('figures', []) for key in figure} - set(log['columns']) - set(log['options'])
        )
        if unknown:
            raise ValueError(
                f'{file}: {row["config"]} has figures for {", ".join(sorted(unknown))}, which is no column'
            )
    return log


def read_results(
    files: Iterable[Path], options: Mapping[str, str] | None = None
) -> dict[tuple[str, tuple[tuple[str, Any], ...]], Mapping[str, Any]]:
    """What was measured: a config and the options that tell its measurements apart, to the arm of an ablation.

    Args:
        files: each an `ablation.json` of `tools/analysis_tools/ablate.py`.
        options: figure of the log to option, as `options` of `log.yml`.

    Returns:
        `(config, ((figure, value), ...))` to arm; without figures where a config is measured as it is.

    Raises:
        ValueError: A file is not of this kind, a row is in two of them, or an arm has options that are neither among
            these nor `load_from`.
    """
    known = options or {}
    results: dict[tuple[str, tuple[tuple[str, Any], ...]], Mapping[str, Any]] = {}
    for file in files:
        arms = json.loads(file.read_text(encoding='utf-8')).get('arms')
        if not isinstance(arms, dict):
            raise ValueError(f'{file} has no arms: give the ablation.json of tools/analysis_tools/ablate.py')
        for name, arm in arms.items():
            given = dict(arm['options'])
            # Where the checkpoint lies that a row starts from.
            given.pop('load_from', None)
            special = tuple((figure, given.pop(key)) for figure, key in sorted(known.items()) if key in given)
            if given:
                raise ValueError(f'{file}: arm {name} changes {", ".join(given)}, so it is no row of the log')
            key = Path(arm['config']).stem, special
            if key in results:
                raise ValueError(f'{file}: arm {name} has been measured in another file, too; give one of them')
            results[key] = arm
    return results


def _ours(arm: Mapping[str, Any] | None, log: Mapping[str, Any]) -> Iterator[str]:
    """A cell for each metric, in the unit of the log."""
    for metric in log['ours']:
        spread = None if arm is None else arm['metrics'].get(metric)
        if spread is None:
            yield ''
        else:
            numbers = [spread['mean']] + ([] if spread['std'] is None else [spread['std']])
            yield ' ± '.join(f'{log["scale"] * number:.{log["ours_digits"]}f}' for number in numbers)


def _theirs(figure: Mapping[str, Any], log: Mapping[str, Any]) -> Iterator[str]:
    for column in log['columns']:
        value = figure.get(column, '')
        yield f'{value:.{log["digits"]}f}' if isinstance(value, float) else str(value)


def _section(rows: Sequence[Mapping[str, Any]], folder: Path, log: Mapping[str, Any], results: Mapping) -> str:
    """The table of a section; a row with several figures fills several lines."""
    lines = []
    for row in rows:
        name = row['config']
        for place, figure in enumerate(row.get('figures', [{}])):
            first = (f'[`{name}`]({name}.py)', describe_config(folder / f'{name}.py')) if not place else ('', '')
            special = tuple((key, figure[key]) for key in sorted(log['options']) if key in figure)
            ours = results.get((name, special)) if special or not place else None
            lines.append([*first, *_theirs(figure, log), *_ours(ours, log)])
    headers = ('row', 'what it is', *log['columns'].values(), *log['ours'].values())
    return tabulate(lines, headers=headers, tablefmt='github', disable_numparse=True)


def format_experiment_log(folder: str | Path, results: Iterable[str | Path] = ()) -> str:
    """The README of a folder of experiments; tables that the template asks for are filled, see `fill_tables`.

    Args:
        folder: Configs, and `log.yml`.
        results: See `read_results`.

    Raises:
        FileNotFoundError: `log.yml` or a config is missing.
        ValueError: `log.yml` is not as above, a config is no row of it, a docstring is too short, or the results
            cannot be used.
    """
    folder = Path(folder)
    log = read_log(folder / 'log.yml')
    known = [row['config'] for section in log['sections'] for row in section['rows']]
    extra = sorted({file.stem for file in folder.glob('*.py')} - set(known))
    if extra:
        raise ValueError(f'{folder}/log.yml has no row for {", ".join(extra)}; add it')
    measured = read_results(map(Path, results), log['options'])
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / 'templates'),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
    )
    text = env.get_template(log['template']).render(
        sections=[
            {'title': section['section'], 'table': _section(section['rows'], folder, log, measured)}
            for section in log['sections']
        ],
        ours_note=f'Ours: {len({name for name, _ in measured} & set(known))} of {len(known)} rows have been run.',
    )
    return fill_tables(re.sub(r'\n{3,}', '\n\n', text))


def write_experiment_logs(folders: Iterable[str | Path], results: Sequence[str | Path] | None = None) -> list[Path]:
    """Write the README of every folder.

    Args:
        folders: See `format_experiment_log`.
        results: For all of them; default: what `results` of each `log.yml` finds in `benchmarks/`.

    Returns:
        The files.
    """
    written = []
    for folder in map(Path, folders):
        found = results
        if found is None:
            found = sorted(Path('benchmarks').glob(read_log(folder / 'log.yml')['results']))
        readme = folder / 'README.md'
        readme.write_text(format_experiment_log(folder, found), encoding='utf-8')
        written.append(readme)
    return written
