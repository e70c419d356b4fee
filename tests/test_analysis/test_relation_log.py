"""The README of the relation log's experiments."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from mmdet_ext.analysis.ablation_grid import read_grid
from mmdet_ext.analysis.relation_log import METRICS, describe_config, format_relation_log, read_results

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs/relation_rcnn/experiments'
RESULTS = sorted(ROOT.glob('benchmarks/relation_experiments*.json'))
# Every row of the log, and the five differences.
ROWS = (
    'original zero one one_2 two three three_b three_c four five six seven seven_b seven_2 seven_3 eight eight_2 nine '
    'nine_2 ten sc sc_no_graph sc_no_attention sc1 sc2 sc3_cat sc3_non_cat diff1 diff2 diff3 diff4 diff5 fpn fpn1 fpn2 '
    'fpn3 fpn4 fpn5 fpn5_512 fpn5_fg64 fpn5_fg32 fpn_5 fpn_6 fpn_7 fpn_8 base base_cls base_spa base_spa_cascade '
    'yy_base_cls'
).split()


def spread(mean: float, std: float | None = None) -> dict:
    return {'mean': mean, 'std': std, 'difference': None, 'values': {'0': mean}}


def arm(config: str, metrics: dict, **options) -> dict:
    return {'config': config, 'options': options, 'metrics': metrics}


@pytest.fixture
def folder(tmp_path):
    """Two configs and their log."""
    for name in ('one', 'two'):
        (tmp_path / f'{name}.py').write_text(f'"""The log: "{name}".\n\nAs\n`{name}`. And more.\n"""\n')
    figures = [{'boxes': 512, 'mAP01': 43.6, 'mAP50': 29.6}, {'boxes': 'test 128', 'rois': 16, 'mAP01': 44.06}]
    rows = [{'config': 'one', 'figures': figures}, {'config': 'two'}]
    (tmp_path / 'log.yml').write_text(yaml.safe_dump([{'section': 'First', 'rows': rows}]))
    return tmp_path


def cells(text: str, part: str) -> list[str]:
    line = next(line for line in text.splitlines() if part in line)
    return [cell.strip() for cell in line.strip('|').split('|')]


def test_the_readme_is_what_is_written():
    assert (FOLDER / 'README.md').read_text(encoding='utf-8') == format_relation_log(FOLDER, RESULTS)


def test_every_row_is_a_config_and_quotes_the_log():
    sections = yaml.safe_load((FOLDER / 'log.yml').read_text(encoding='utf-8'))
    known = [row['config'] for section in sections for row in section['rows']]
    assert set(ROWS) <= set(known)
    assert len(set(known)) == len(known)
    for name in known:
        assert '"""The log: "' in (FOLDER / f'{name}.py').read_text(encoding='utf-8')


@pytest.mark.parametrize('name', ['c4', 'fpn'])
def test_grids_compare_rows_alone(name):
    grid = read_grid(FOLDER / f'grid_{name}.yml')
    assert {arm.name for arm in grid.arms} <= set(ROWS) | {'sc2_objects'}
    assert all(Path(arm.config).stem == arm.name and not arm.options for arm in grid.arms)
    assert set(grid.metrics) == set(METRICS)


def test_cells(folder):
    results = folder / 'ablation.json'
    ours = dict(zip(METRICS, (spread(0.5, 0.0125), spread(0.25), None), strict=True))
    few = {METRICS[0]: spread(0.4)}
    arms = {
        'a': arm('x/one.py', ours),
        'b': arm('one.py', few, **{'model.test_cfg.rpn.max_per_img': 16, 'load_from': 'a.pth'}),
        'c': arm('other.py', few),
    }
    results.write_text(json.dumps({'arms': arms}))
    text = format_relation_log(folder, [results])
    assert cells(text, '[`one`]') == [
        '[`one`](one.py)',
        'As `one`.',
        '512',
        '43.60',
        '29.60',
        '50.0 ± 1.2',
        '25.0',
        '',
    ]
    assert cells(text, 'test 128') == ['', '', 'test 128', '44.06', '', '40.0', '', '']
    assert cells(text, '[`two`]') == ['[`two`](two.py)', 'As `two`.', '', '', '', '', '', '']
    assert 'Ours: 1 of 2 rows have been run.' in text
    assert 'Ours: 0 of 2 rows' in format_relation_log(folder)


def test_bad_input(folder):
    other = folder / 'third.py'
    other.write_text('"""No row."""')
    with pytest.raises(ValueError, match=r'log\.yml has no row for third; add it'):
        format_relation_log(folder)
    with pytest.raises(ValueError, match=r'third\.py: the docstring must quote the log'):
        describe_config(other)
    with pytest.raises(FileNotFoundError, match=r'fourth\.py is a row of the log'):
        describe_config(folder / 'fourth.py')
    results = folder / 'results.json'
    results.write_text('{"summary": {}}')
    with pytest.raises(ValueError, match=r'no arms: give the ablation\.json'):
        read_results([results])
    results.write_text(json.dumps({'arms': {'row': arm('one.py', {})}}))
    with pytest.raises(ValueError, match='arm row has been measured in another file, too'):
        read_results([results, results])
    results.write_text(json.dumps({'arms': {'odd': arm('one.py', {}, **{'train_cfg.max_epochs': 1})}}))
    with pytest.raises(ValueError, match=r'arm odd changes train_cfg\.max_epochs'):
        read_results([results])


def test_tool(folder, monkeypatch, capsys):
    tool = str(ROOT / 'tools/analysis_tools/relation_log.py')
    monkeypatch.setattr(sys, 'argv', [tool, '--folder', str(folder), '--results'])
    runpy.run_path(tool, run_name='__main__')
    assert capsys.readouterr().out.strip() == str(folder / 'README.md')
    assert (folder / 'README.md').read_text(encoding='utf-8') == format_relation_log(folder)
