"""The figures as Markdown."""

from mmdet_ext.reliability.table import format_reliability

MADE = {'seed': 4, 'seconds': 61.4, 'date': '2026-11-22T00:00:00+00:00', 'versions': {'torch': '2.13.0'}}
CASE = {'name': 'kill', 'trials': 20, 'lost': 0, 'resumed': 20, 'explained': None, 'skipped': ''}
KIND = {'name': 'parts', 'cases': 1200, 'refused': 1100, 'defects': {}}


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line.startswith('|')]


def test_both_tables():
    skipped = {**CASE, 'name': 'disk', 'trials': 0, 'skipped': 'needs root'}
    full = {**CASE, 'name': 'full', 'trials': 1, 'resumed': 1, 'explained': 1}
    text = format_reliability(
        {
            'training': {'cases': [CASE, full, skipped], **MADE},
            'files': {'cases': [KIND, {**KIND, 'name': 'graphs', 'defects': {'a': 'b'}}], **MADE},
        }
    )
    table = rows(text)
    assert table[2] == ['kill', '20', '0', '20 of 20', 'killed']
    assert table[3] == ['full', '1', '0', '1 of 1', '1 of 1']
    assert table[4] == ['disk', '0', '', '', 'needs root']
    assert table[7] == ['parts', '1,200', '1,100', '0']
    assert table[9] == ['all', '2,400', '2,200', '1']
    assert text.count('Seed 4, 61 s, 2026-11-22, torch 2.13.0.') == 2
    assert text.endswith('.\n')


def test_one_part_alone():
    text = format_reliability({'files': {'cases': [KIND], **MADE}})
    assert rows(text)[-1] == ['all', '1,200', '1,100', '0']
    assert 'saves lost' not in text
