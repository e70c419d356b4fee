"""The READMEs of the logs whose rows are configs."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from mmdet_ext.analysis.ablation.grid import read_grid
from mmdet_ext.analysis.logs.experiment_log import (
    describe_config,
    format_experiment_log,
    read_log,
    read_results,
    write_experiment_logs,
)

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / 'configs/relation_rcnn/experiments'
FOLDERS = sorted({file.parent for file in (ROOT / 'configs').rglob('log.yml')})
METRICS = ('iou01/bbox_mAP', 'iou50/bbox_mAP', 'coco/bbox_mAP')
ROIS = 'model.test_cfg.rpn.max_per_img'
# Every row of the relation log, and the five differences.
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
    log = yaml.safe_load((FOLDER / 'log.yml').read_text(encoding='utf-8'))
    (tmp_path / 'log.yml').write_text(
        yaml.safe_dump({**log, 'sections': [{'section': 'First', 'rows': rows}]}, sort_keys=False)
    )
    return tmp_path


def cells(text: str, part: str) -> list[str]:
    line = next(line for line in text.splitlines() if part in line)
    return [cell.strip() for cell in line.strip('|').split('|')]


def names(path: Path) -> str:
    return str(path.relative_to(ROOT / 'configs'))


@pytest.mark.parametrize('folder', FOLDERS, ids=names)
def test_the_readme_is_what_is_written(folder):
    results = sorted((ROOT / 'benchmarks').glob(read_log(folder / 'log.yml')['results']))
    assert (folder / 'README.md').read_text(encoding='utf-8') == format_experiment_log(folder, results)


@pytest.mark.parametrize('folder', FOLDERS, ids=names)
def test_every_row_is_a_config_and_quotes_the_log(folder):
    known = [row['config'] for section in read_log(folder / 'log.yml')['sections'] for row in section['rows']]
    assert len(set(known)) == len(known)
    for name in known:
        assert '"""The log: "' in (folder / f'{name}.py').read_text(encoding='utf-8')


def test_every_row_of_the_relation_log_is_there():
    sections = read_log(FOLDER / 'log.yml')['sections']
    assert set(ROWS) <= {row['config'] for section in sections for row in section['rows']}


@pytest.mark.parametrize('name', ['c4', 'fpn'])
def test_grids_compare_rows_alone(name):
    grid = read_grid(FOLDER / f'grid_{name}.yml')
    assert {arm.name for arm in grid.arms} <= set(ROWS) | {'sc2_objects'}
    assert all(Path(arm.config).stem == arm.name and not arm.options for arm in grid.arms)
    assert set(grid.metrics) == set(METRICS)


def test_cells(folder):
    results = folder / 'ablation.json'
    ours = dict(zip(METRICS, (spread(0.5, 0.0126), spread(0.25), None), strict=True))
    few = {METRICS[0]: spread(0.4)}
    arms = {
        'a': arm('x/one.py', ours),
        'b': arm('one.py', few, **{'model.test_cfg.rpn.max_per_img': 16, 'load_from': 'a.pth'}),
        'c': arm('other.py', few),
    }
    results.write_text(json.dumps({'arms': arms}))
    text = format_experiment_log(folder, [results])
    assert cells(text, '[`one`]') == [
        '[`one`](one.py)',
        'As `one`.',
        '512',
        '43.60',
        '29.60',
        '50.0 ± 1.3',
        '25.0',
        '',
    ]
    assert cells(text, 'test 128') == ['', '', 'test 128', '44.06', '', '40.0', '', '']
    assert cells(text, '[`two`]') == ['[`two`](two.py)', 'As `two`.', '', '', '', '', '', '']
    assert 'Ours: 1 of 2 rows have been run.' in text
    # In the unit of the log.
    log = yaml.safe_load((folder / 'log.yml').read_text())
    (folder / 'log.yml').write_text(yaml.safe_dump({**log, 'scale': 1, 'ours_digits': 3, 'digits': 1}, sort_keys=False))
    line = cells(format_experiment_log(folder, [results]), '[`one`]')
    assert line[2:] == ['512', '43.6', '29.6', '0.500 ± 0.013', '0.250', '']
    assert 'Ours: 0 of 2 rows' in format_experiment_log(folder)


def test_bad_input(folder):
    other = folder / 'third.py'
    other.write_text('"""No row."""')
    with pytest.raises(ValueError, match=r'log\.yml has no row for third; add it'):
        format_experiment_log(folder)
    with pytest.raises(ValueError, match=r'third\.py: the docstring must quote the log'):
        describe_config(other)
    with pytest.raises(FileNotFoundError, match=r'fourth\.py is a row of the log'):
        describe_config(folder / 'fourth.py')
    with pytest.raises(FileNotFoundError, match=r'there is no nowhere.log\.yml, which says what rows the log has'):
        format_experiment_log('nowhere')
    log = folder / 'log.yml'
    good = yaml.safe_load(log.read_text())
    for wrong, message in (
        ([], r'log\.yml has list; needed are columns, ours, results, sections, template'),
        ({key: good[key] for key in good if key != 'ours'}, r'log\.yml has template, .*; needed are'),
        ({**good, 'colour': 'red'}, 'allowed are also digits, options, ours_digits, scale'),
        ({**good, 'columns': {'boxes': 'boxes', 'mAP01': 'mAP'}}, 'one has figures for mAP50, which is no column'),
    ):
        log.write_text(yaml.safe_dump(wrong, sort_keys=False))
        with pytest.raises(ValueError, match=message):
            read_log(log)
    results = folder / 'results.json'
    results.write_text('{"summary": {}}')
    with pytest.raises(ValueError, match=r'no arms: give the ablation\.json'):
        read_results([results])
    results.write_text(json.dumps({'arms': {'row': arm('one.py', {})}}))
    with pytest.raises(ValueError, match='arm row has been measured in another file, too'):
        read_results([results, results])
    results.write_text(json.dumps({'arms': {'odd': arm('one.py', {}, **{ROIS: 16})}}))
    assert list(read_results([results], {'rois': ROIS})) == [('one', (('rois', 16),))]
    with pytest.raises(ValueError, match=r'arm odd changes model\.test_cfg\.rpn\.max_per_img'):
        read_results([results])


def test_results_that_a_log_names_are_found(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / 'benchmarks').mkdir()
    arms = {'one': arm('one.py', {METRICS[0]: spread(0.5)})}
    (folder / 'benchmarks/relation_experiments_c4.json').write_text(json.dumps({'arms': arms}))
    (readme,) = write_experiment_logs([folder])
    assert cells(readme.read_text(encoding='utf-8'), '[`one`]')[5] == '50.0'


def test_tool(folder, monkeypatch, capsys):
    tool = str(ROOT / 'tools/analysis_tools/experiment_log.py')
    monkeypatch.setattr(sys, 'argv', [tool, str(folder), '--results'])
    runpy.run_path(tool, run_name='__main__')
    assert capsys.readouterr().out.strip() == str(folder / 'README.md')
    assert (folder / 'README.md').read_text(encoding='utf-8') == format_experiment_log(folder)
