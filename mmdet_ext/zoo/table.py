"""A family's models as a Markdown table, from its metafile."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from mmdet_ext.analysis.tables import markdown_table

NOT_YET = 'not trained yet: `make zoo`'
NEVER = 'none'
_HOW = ('Training Resources', 'Versions', 'Commit')


def format_zoo(content: Mapping[str, Any]) -> str:
    """The trained models with their figures, then those that are not trained; how they were made stands below.

    Args:
        content: See `read_metafile`. Configs lie beside the Markdown file.
    """
    trained, rest = content['Models'], content.get('Untrained') or []
    names = list(dict.fromkeys(name for row in trained for name in _metrics(row)))
    rows = [_row(row, names, _weights(str(row['Weights']))) for row in trained]
    rows += [_row(row, names, NOT_YET if row.get('Zoo') else NEVER) for row in rest]
    head = ['config', 'data', 'epochs', *names, 'training', 'weights']
    # A column that says nothing yet.
    empty = [place for place in range(len(head)) if not any(row[place] for row in rows)]
    kept = [place for place in range(len(head)) if place not in empty]
    table = markdown_table([head[place] for place in kept], [[row[place] for place in kept] for row in rows])
    return '\n'.join([table, *_remarks(trained)]) + '\n'


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for result in row.get('Results', []) for name, value in result['Metrics'].items()}


def _row(row: Mapping[str, Any], names: list[str], weights: str) -> list[str]:
    about, metrics = row.get('Metadata') or {}, _metrics(row)
    spent = [
        f'{about[key]:g} {unit}'
        for key, unit in (('Training Time (min)', 'min'), ('Training Memory (GB)', 'GB'))
        if key in about
    ]
    figures = [f'{metrics[name]:.1f}' if name in metrics else '' for name in names]
    config = PurePosixPath(row['Config'])
    data, epochs = (str(about.get(key, '')) for key in ('Training Data', 'Epochs'))
    return [f'[`{config.stem}`]({config.name})', data, epochs, *figures, ', '.join(spent), weights]


def _weights(place: str) -> str:
    name = place.rpartition('/')[2]
    return f'[{name}]({place})' if '://' in place else f'`{name}`'


def _remarks(trained: list[Mapping[str, Any]]) -> list[str]:
    if not trained:
        return []
    how: dict[str, list[str]] = {}
    for row in trained:
        about = row.get('Metadata') or {}
        text = '; '.join(str(about[key]) for key in _HOW if key in about)
        how.setdefault(text, []).append(f'`{row["Name"]}`')
    lines = [
        'Figures in percent, by the `test_dataloader` of the config; one training each, seed 0, so differences of one '
        'or two points mean nothing. `python tools/zoo.py --only NAME` makes a row again.'
    ]
    lines += [f'- {text}' + (f' ({", ".join(names)})' if len(how) > 1 else '') for text, names in how.items() if text]
    return ['', lines[0], *([''] if lines[1:] else []), *lines[1:]]
