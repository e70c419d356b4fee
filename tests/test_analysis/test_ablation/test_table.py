"""Markdown, CSV and JSON of a result."""

import csv
import json

import pytest

from mmdet_ext.analysis.ablation.table import format_markdown, write_tables


def arm(spread, **changes):
    base = {'parameters': 2_500_000, 'flops': 553_332_728, 'flops_note': 'one image of 8 x 8', 'step_seconds': 0.0684,
            'peak_memory_mb': 463, 'seeds': [0, 1]}  # fmt: skip
    return {**base, 'metrics': {'mAP': spread}, **changes}


RESULT = {
    'metrics': ['mAP'],
    'reference': 'plain',
    'seeds': [0, 1],
    'arms': {
        'plain': arm({'mean': 0.5, 'std': 0.0123, 'difference': None, 'values': {0: 0.4, 1: 0.6}}),
        'a|b': arm({'mean': 0.48, 'std': None, 'difference': -0.02, 'values': {0: 0.48}}, flops=None, flops_note='why'),
        'gone': arm(None, seeds=[], step_seconds=None, peak_memory_mb=None),
    },
    'missing': [
        {'arm': 'gone', 'seed': 1, 'reason': 'ValueError: x'},
        {'arm': 'gone', 'seed': 2, 'reason': 'not started'},
        {'arm': 'a|b', 'seed': 1, 'reason': 'ValueError: x'},
    ],
    'notes': ['A note.'],
}


def test_markdown():
    lines = format_markdown(RESULT).splitlines()
    cells = [[cell.strip() for cell in line.replace('\\|', '/').strip('|').split('|')] for line in lines[:5]]
    assert cells[0] == ['arm', 'seeds', 'mAP', 'parameters', 'GFLOPs', 'step', 'memory']
    assert cells[2:] == [
        ['plain (reference)', '2/2', '0.500 ± 0.012', '2.50 M', '0.553', '68 ms', '463 MB'],
        ['a/b', '2/2', '0.480 (−0.020) [1 seeds]', '2.50 M', 'n/a', '68 ms', '463 MB'],
        ['gone', '0/2', '', '2.50 M', '0.553', '', ''],
    ]
    assert 'over the seeds 0, 1; in brackets the difference to plain' in lines[6]
    assert 'multiply-adds of one image of 8 x 8, fresh' in lines[6]
    assert lines[8:] == [
        '- FLOPs of a|b: n/a, why',
        '- Missing: gone, a|b, seed 1: ValueError: x',
        '- Missing: gone, seed 2: not started',
        '- A note.',
    ]


def test_without_remarks_and_flops():
    arms = {'plain': arm(None, flops=None, flops_note='why')}
    text = format_markdown({**RESULT, 'arms': arms, 'missing': [], 'notes': []})
    assert 'multiply-adds of nothing' in text
    assert text.endswith('- FLOPs of plain: n/a, why\n')
    text = format_markdown({**RESULT, 'arms': {'plain': arm(None)}, 'missing': [], 'notes': []})
    assert text.rstrip().endswith('resident set.')


def test_files(tmp_path):
    write_tables(RESULT, tmp_path / 'new')
    assert (tmp_path / 'new/ablation.md').read_text() == format_markdown(RESULT)
    assert json.loads((tmp_path / 'new/ablation.json').read_text())['arms']['plain']['metrics']['mAP']['mean'] == 0.5
    with (tmp_path / 'new/ablation.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['arm'] for row in rows] == ['plain', 'a|b', 'gone']
    assert float(rows[1]['mAP difference']) == pytest.approx(-0.02)
    assert rows[0]['mAP difference'] == rows[2]['mAP mean'] == rows[2]['step_seconds'] == rows[1]['flops'] == ''
    assert (rows[2]['seeds'], rows[2]['parameters']) == ('0', '2500000')
