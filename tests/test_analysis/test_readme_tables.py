"""Tables in Markdown files are those of the stored results."""

import json
from pathlib import Path

import pytest
import yaml

from mmdet_ext.analysis.ablation.table import format_markdown
from mmdet_ext.analysis.readme_tables import fill_tables, update_readmes

ROOT = Path(__file__).parents[2]
SPREAD = {'mean': 0.5, 'std': 0.01, 'values': {'0': 0.49, '1': 0.51}, 'difference': None}
ARM = {
    'config': 'a.py', 'options': {}, 'seeds': [0, 1], 'metrics': {'mAP': SPREAD}, 'parameters': 5, 'flops': 7,
    'flops_note': 'one image', 'step_seconds': 0.1, 'peak_memory_mb': 3,
}  # fmt: skip
RESULT = {
    'grid': 'g.yml', 'reference': 'plain', 'seeds': [0, 1], 'metrics': ['mAP'], 'arms': {'plain': ARM}, 'missing': [],
    'notes': [], 'runs': [],
}  # fmt: skip
EMPTY = 'before\n\n<!-- ablation a.json: begin -->\n<!-- ablation a.json: end -->\n\nbehind\n'


@pytest.fixture
def stored(tmp_path):
    (tmp_path / 'a.json').write_text(json.dumps(RESULT))
    return tmp_path


def test_fill_and_fill_again(stored):
    filled = fill_tables(EMPTY, stored)
    head, tail = EMPTY.split('begin -->\n')
    assert filled == f'{head}begin -->\n{format_markdown(RESULT)}{tail}'
    assert '0.500 ± 0.010' in filled
    assert fill_tables(filled, stored) == filled
    assert fill_tables(filled.replace('0.500', '0.900'), stored) == filled
    assert fill_tables('no table\n', stored) == 'no table\n'


def test_two_tables(stored):
    (stored / 'b.json').write_text(json.dumps(RESULT | {'arms': {'other': ARM}, 'reference': 'other'}))
    text = EMPTY + EMPTY.replace('a.json', 'b.json')
    first, second = fill_tables(text, stored).split('behind\n')[:2]
    assert 'plain (reference)' in first
    assert 'other (reference)' in second


@pytest.mark.parametrize('text', ['<!-- ablation a.json: begin -->\n', EMPTY.replace('a.json: end', 'b.json: end')])
def test_lines_that_are_no_pair(stored, text):
    with pytest.raises(ValueError, match=r'the lines <!-- ablation a\.json: begin -->.* are not pairs'):
        fill_tables(text, stored)


def test_files(stored):
    readme, other = stored / 'README.md', stored / 'other.md'
    readme.write_text(EMPTY)
    other.write_text('nothing here\n')
    assert update_readmes([readme, other], stored, check=True) == [readme]
    assert readme.read_text() == EMPTY
    assert update_readmes([readme, other], stored) == [readme]
    assert update_readmes([readme, other], stored) == []
    (stored / 'a.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'README\.md: .*a\.json is not there; copy the ablation\.json'):
        update_readmes([readme], stored)


def test_kinds_of_tables(stored):
    trials = {'onnx': {'works': False, 'why': 'no head'}}
    rows = {'rows': [{'config': 'x.py', 'detector': 'X', **trials}], 'versions': {'torch': '2'}}
    (stored / 'd.json').write_text(json.dumps(rows))
    text = '<!-- deployment d.json: begin -->\nold\n<!-- deployment d.json: end -->\n'
    filled = fill_tables(EMPTY + text, stored)
    assert '| `x.py` | X | no [1] | not tried | not tried |' in filled
    assert '0.500 ± 0.010' in filled
    assert 'old' not in filled
    with pytest.raises(ValueError, match='are not pairs'):
        fill_tables(text.replace('deployment d.json: end', 'ablation d.json: end'), stored)
    (stored / 'd.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'd\.json is not there; tools/deployment/support_table\.py writes it'):
        fill_tables(text, stored)


def test_a_family_of_the_zoo(tmp_path):
    text = '<!-- zoo configs/x/metafile.yml: begin -->\nold\n<!-- zoo configs/x/metafile.yml: end -->\n'
    with pytest.raises(
        FileNotFoundError, match=r'metafile\.yml is not there; write it as mmdet_ext/zoo/metafile\.py says'
    ):
        fill_tables(text, tmp_path)
    (tmp_path / 'configs/x').mkdir(parents=True)
    metafile = tmp_path / 'configs/x/metafile.yml'
    row = {'Name': 'a', 'Config': 'configs/x/a.py', 'Metadata': {'Training Data': 'cells', 'Epochs': 8}}
    metafile.write_text(yaml.safe_dump({'Collections': [], 'Models': [], 'Untrained': [row]}))
    assert '| [`a`](a.py) | cells  | 8        | none      |' in fill_tables(text, tmp_path)
    metafile.write_text('Models: 3')
    with pytest.raises(ValueError, match=r"metafile\.yml: 'Collections' must be a list"):
        fill_tables(text, tmp_path)


def test_ours_are_up_to_date():
    found = [
        ROOT / 'README.md',
        *ROOT.glob('configs/**/README.md'),
        *ROOT.glob('tools/**/README.md'),
        *ROOT.glob('docs/**/*.md'),
    ]
    assert update_readmes(found, ROOT, check=True) == []
