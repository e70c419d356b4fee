"""The tables of an ablation: Markdown for people, CSV for spreadsheets, JSON for everything else."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..report import format_number
from ..tables import markdown_table, write_csv


def format_markdown(result: Mapping[str, Any]) -> str:
    """One row an arm; an empty cell is a run that is not there, and the lines below say why.

    Args:
        result: See `collect_results`.
    """
    head = ['arm', 'seeds', *result['metrics'], 'parameters', 'GFLOPs', 'step', 'memory']
    rows = []
    for name, row in result['arms'].items():
        flops, step, memory = row['flops'], row['step_seconds'], row['peak_memory_mb']
        rows.append(
            [
                f'{name} (reference)' if name == result['reference'] else name,
                f'{len(row["seeds"])}/{len(result["seeds"])}',
                *(_cell(row['metrics'][metric], len(row['seeds'])) for metric in result['metrics']),
                f'{row["parameters"] / 1e6:.2f} M',
                'n/a' if flops is None else f'{flops / 1e9:.3g}',
                '' if step is None else f'{1000 * step:.0f} ms',
                '' if memory is None else f'{memory} MB',
            ]
        )
    return '\n'.join([markdown_table(head, rows), '', *_remarks(result)]) + '\n'


def _cell(spread: Mapping[str, Any] | None, seeds: int) -> str:
    """`0.557 ± 0.011 (+0.021)`, with the number of seeds where some have no value."""
    if spread is None:
        return ''
    text = format_number(spread['mean'])
    if spread['std'] is not None:
        text += f' ± {format_number(spread["std"])}'
    if spread['difference'] is not None:
        text += f' ({format_number(spread["difference"], sign=True)})'
    return text if len(spread['values']) == seeds else f'{text} [{len(spread["values"])} seeds]'


def _remarks(result: Mapping[str, Any]) -> list[str]:
    counted = sorted({row['flops_note'] for row in result['arms'].values() if row['flops'] is not None})
    lines = [
        f'Mean ± standard deviation over the seeds {", ".join(map(str, result["seeds"]))}; in brackets the difference '
        f'to {result["reference"]}. FLOPs: multiply-adds of {" or ".join(counted) or "nothing"}, fresh weights. Step: '
        'median of the training, data loading included, without the first steps. Memory: peak of the first process, '
        'on a GPU what torch allocated, else its resident set.'
    ]
    failed = {name: row['flops_note'] for name, row in result['arms'].items() if row['flops'] is None}
    lines += [f'- FLOPs of {name}: n/a, {reason}' for name, reason in failed.items()]
    gaps: dict[tuple[int, str], list[str]] = {}
    for gap in result['missing']:
        gaps.setdefault((gap['seed'], gap['reason']), []).append(gap['arm'])
    lines += [f'- Missing: {", ".join(arms)}, seed {seed}: {reason}' for (seed, reason), arms in gaps.items()]
    lines += [f'- {note}' for note in result['notes']]
    return [lines[0], *([''] if lines[1:] else []), *lines[1:]]


def write_tables(result: Mapping[str, Any], folder: Path) -> None:
    """Write `ablation.md`, `ablation.csv` and `ablation.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'ablation.md').write_text(format_markdown(result), encoding='utf-8')
    (folder / 'ablation.json').write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    parts = ('mean', 'std', 'difference')
    columns = ('parameters', 'flops', 'step_seconds', 'peak_memory_mb')
    names = [f'{metric} {part}' for metric in result['metrics'] for part in parts]
    rows = []
    for name, row in result['arms'].items():
        cells = [(row['metrics'][metric] or {}).get(part) for metric in result['metrics'] for part in parts]
        rows.append([name, len(row['seeds']), *cells, *(row[column] for column in columns)])
    write_csv(folder / 'ablation.csv', ['arm', 'seeds', *names, *columns], rows)
