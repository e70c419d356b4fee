"""The figures of the drill as Markdown."""

from collections.abc import Mapping
from typing import Any

from mmdet_ext.analysis.tables import markdown_table


def format_reliability(content: Mapping[str, Any]) -> str:
    """Two tables, of trainings and of files, as far as they were run, each with what it was made with."""
    tables = []
    if 'training' in content:
        part = content['training']
        rows = [_case(case) for case in part['cases']]
        headers = ['what goes wrong', 'times', 'saves lost', 'resumed to the same weights', 'said in a sentence']
        tables.append(f'{markdown_table(headers, rows)}\n\n{_made(part)}')
    if 'files' in content:
        part = content['files']
        rows = [
            [kind['name'], f'{kind["cases"]:,}', f'{kind["refused"]:,}', str(len(kind['defects']))]
            for kind in part['cases']
        ]
        total = [sum(kind[key] for kind in part['cases']) for key in ('cases', 'refused')]
        defects = sum(len(kind['defects']) for kind in part['cases'])
        rows.append(['all', f'{total[0]:,}', f'{total[1]:,}', str(defects)])
        headers = ['files', 'tried', 'refused in a sentence', 'defects']
        tables.append(f'{markdown_table(headers, rows)}\n\n{_made(part)}')
    return '\n\n'.join(tables) + '\n'


def _case(case: Mapping[str, Any]) -> list[str]:
    if case['skipped']:
        return [case['name'], '0', '', '', case['skipped']]
    said = 'killed' if case['explained'] is None else f'{case["explained"]} of {case["trials"]}'
    resumed = f'{case["resumed"]} of {case["trials"]}'
    return [case['name'], str(case['trials']), str(case['lost']), resumed, said]


def _made(part: Mapping[str, Any]) -> str:
    versions = ', '.join(f'{name} {number}' for name, number in part['versions'].items())
    return f'Seed {part["seed"]}, {part["seconds"]:.0f} s, {part["date"][:10]}, {versions}.'
