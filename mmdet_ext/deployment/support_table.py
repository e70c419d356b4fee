"""What exports and what does not, as a table in Markdown."""

from collections.abc import Mapping
from typing import Any

WAYS = ('onnx', 'torch.export', 'torch.compile')


def format_support(stored: Mapping[str, Any]) -> str:
    """The stored rows as a Markdown table, and the sentences about what does not work below it."""
    lines = [f'| config | detector | {" | ".join(WAYS)} |', '|' + '---|' * (2 + len(WAYS))]
    notes: dict[str, int] = {}

    def cell(trial: Mapping[str, Any] | None) -> str:
        if trial is None:
            return 'not tried'
        # What exports instead stands above the table.
        why = trial['why'].split('; what exports')[0]
        note = f' [{notes.setdefault(why, len(notes) + 1)}]' if why else ''
        if not trial['works']:
            return f'no{note}'
        errors = f'{trial["box_error"]:.0e} px, {trial["score_error"]:.0e}'
        return f'yes{note}: {trial["matched"]} of {trial["total"]}, {errors}'

    for row in stored['rows']:
        name = row['config'].removeprefix('configs/')
        lines.append(f'| `{name}` | {row["detector"]} | {" | ".join(cell(row.get(way)) for way in WAYS)} |')
    lines += ['', *(f'[{number}] {why}.  ' for why, number in notes.items())]
    versions = ', '.join(f'{name} {number}' for name, number in stored['versions'].items())
    return '\n'.join(lines).rstrip() + f'\n\nMeasured with {versions}.\n'
