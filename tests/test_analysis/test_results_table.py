"""The table over runs, and which must not stand in one."""

import csv
import json

import pytest

from mmdet_ext.analysis.results_table import format_results, run_results_table
from tests.test_analysis.results_case import write_record, write_run
from tests.test_analysis.test_ablation.ablation_case import VERSIONS
from tests.tiny_coco import make_tiny_coco

FAST = 'optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=0.01))'


@pytest.fixture
def work(tmp_path):
    """Three runs: slow, fast with its best in the middle, and one that is not finished."""
    write_run(tmp_path / 'w/slow', tmp_path / 'data', [0.1, 0.2, 0.3])
    write_run(tmp_path / 'w/fast', tmp_path / 'data', [0.1, 0.6, 0.5], more=FAST, seed=2)
    write_run(tmp_path / 'w/short', tmp_path / 'data', [0.4], more=FAST, record=False)
    return tmp_path / 'w'


def table(*folders, **options):
    said = []
    result = run_results_table(folders, say=said.append, **options)
    return result, '\n'.join(said)


def cells(text):
    return [[cell.strip() for cell in line.split('|')[1:-1]] for line in text.splitlines() if line.startswith('|')]


def test_the_table(work):
    result, text = table(work)
    head, _, fast, short, slow = cells(text)
    assert head == ['run', 'what differs', 'seed', 'trained', 'coco/bbox_mAP', 'coco/bbox_mAP_50']
    assert fast == ['fast', 'lr=0.01', '2', '3/3 epochs', '0.500 (0.600, epoch 2)', '0.500 (0.600, epoch 2)']
    assert short == ['short', 'lr=0.01', '1', '1/3 epochs, not finished', '0.400', '0.400']
    assert slow[:5] == ['slow', 'lr=0.001', '1', '3/3 epochs', '0.300']
    assert 'Versions: mmdet_ext 0.1, mmdet 3.3.0, pycocotools 2.0.8, torch 2.13.0.' in text
    assert 'so versions are unknown: short' in text
    assert result['notes'] == []


def test_sorted_and_with_chosen_metrics(work):
    result, text = table(work, metrics=['coco/loss'], sort='coco/bbox_mAP')
    assert [run['name'] for run in result['runs']] == ['fast', 'short', 'slow']
    assert cells(text)[0][4:] == ['coco/loss']
    assert cells(text)[2][4] == '0.500 (0.400, epoch 2)'


def test_a_run_that_lacks_the_metric_comes_last(work, tmp_path):
    run = write_run(tmp_path / 'w/a', tmp_path / 'data', [0.1], record=False)
    log = next(run.rglob('scalars.json'))
    log.write_text(log.read_text().splitlines()[0] + '\n')
    result, text = table(work, sort='coco/bbox_mAP')
    assert [run['name'] for run in result['runs']] == ['fast', 'short', 'slow', 'a']
    assert cells(text)[-1][4] == ''


def test_files(work, tmp_path):
    result, text = table(work, out=tmp_path / 'out/new')
    folder = tmp_path / 'out/new'
    assert json.loads((folder / 'results.json').read_text()) == json.loads(json.dumps(result))
    assert (folder / 'results.md').read_text() == format_results(result)
    assert f'{folder}/results.md, .csv, .json' in text
    with (folder / 'results.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['name'] for row in rows] == ['fast', 'short', 'slow']
    assert rows[0]['coco/bbox_mAP best'] == '0.6'
    assert rows[0]['coco/bbox_mAP best_at'] == '2'
    assert rows[0]['optim_wrapper.optimizer.lr'] == '0.01'
    assert (rows[0]['version of mmdet'], rows[1]['version of mmdet']) == ('3.3.0', '')


def test_one_run_has_nothing_to_differ_from(work):
    result, text = table(work / 'slow')
    assert (result['runs'][0]['name'], result['runs'][0]['changes']) == ('slow', {})
    assert cells(text)[2][:2] == ['slow', '']


def test_a_run_within_another_has_a_name_too(work, tmp_path):
    write_run(tmp_path / 'w/slow/again', tmp_path / 'data', [0.1])
    assert [run['name'] for run in table(work / 'slow')[0]['runs']] == ['slow', 'again']


def test_other_evaluator_settings_are_refused(work, tmp_path):
    more = "val_evaluator['metric'] = ['bbox', 'segm']"
    write_run(tmp_path / 'w/masks', tmp_path / 'data', [0.1], more=more)
    sentence = r"'fast' and 'masks' were measured differently.*one table: val_evaluator\.metric.* Make a table of each"
    with pytest.raises(ValueError, match=sentence):
        table(work)


def test_other_validation_data_are_refused(work, tmp_path):
    make_tiny_coco(tmp_path / 'other', n=3)
    other = f"val_dataloader['dataset']['data_prefix'] = dict(img={str(tmp_path / 'other/images')!r})"
    write_run(tmp_path / 'w/x', tmp_path / 'data', [0.1], more=other)
    with pytest.raises(ValueError, match=r"'fast' and 'x' .*val_dataloader\.dataset\.data_prefix\.img is 2 files"):
        table(work)


def test_data_that_are_not_here_are_a_note(work, tmp_path):
    write_run(tmp_path / 'w/x', tmp_path / 'gone', [0.1], more="val_evaluator['ann_file'] = 'ann.json'")
    for name in ('fast', 'short', 'slow'):
        config = next((work / name).rglob('config.py'))
        config.write_text(config.read_text() + "\nval_evaluator['ann_file'] = 'ann.json'\n")
    (tmp_path / 'gone/ann.json').unlink()
    result, text = table(work)
    assert len(result['runs']) == 4
    assert '- x: its validation data are not compared' in text


def test_another_version_is_a_column_and_no_reason_to_refuse(work):
    write_record(work / 'slow', 0.3, versions={**VERSIONS, 'mmdet': '3.4.0'})
    _, text = table(work)
    rows = cells(text)
    assert rows[0][-1] == 'versions'
    assert [row[-1] for row in rows[2:]] == ['mmdet 3.3.0', '', 'mmdet 3.4.0']
    assert 'Versions: mmdet_ext 0.1, pycocotools 2.0.8, torch 2.13.0.' in text


def test_a_run_that_cannot_be_read_is_named_and_left_out(work, tmp_path):
    broken = write_run(tmp_path / 'w/broken', tmp_path / 'data', [0.1])
    next(broken.rglob('config.py')).write_text('1 +')
    result, text = table(work)
    assert len(result['runs']) == 3
    assert '- Left out: ' in text
    assert 'SyntaxError' in text
    with pytest.raises(ValueError, match='no training can be read: Left out:'):
        table(broken)


def test_an_unknown_metric(work):
    with pytest.raises(ValueError, match="no run has the metric 'coco/bbox_map'; the nearest is 'coco/bbox_mAP'"):
        table(work, metrics=['coco/bbox_map'])
    with pytest.raises(ValueError, match='no run has the metric'):
        table(work, sort='x')


def test_metrics_without_any_map_and_without_any(tmp_path):
    run = write_run(tmp_path / 'w/a', tmp_path / 'data', [0.1], record=False)
    log = next(run.rglob('scalars.json'))
    log.write_text(log.read_text().replace('bbox_mAP', 'other'))
    assert table(run)[0]['metrics'] == ['coco/other', 'coco/other_50', 'coco/loss']
    log.write_text(log.read_text().splitlines()[0] + '\n')
    assert table(run)[0]['metrics'] == []
    with pytest.raises(ValueError, match='none of them has been validated'):
        table(run, sort='x')


def test_many_changes_are_shortened(work, tmp_path):
    more = '\n'.join([
        "model['backbone']['norm_cfg'] = dict(type='BN')", "model['bbox_head']['loss_bbox']['type'] = 'SmoothL1Loss'",
        "model['bbox_head']['loss_cls']['loss_weight'] = 2.0", "randomness['deterministic'] = True",
        f'experiment_name = {"x" * 9!r}', f"model['init_cfg'] = {'y' * 60!r}",
    ])  # fmt: skip
    write_run(tmp_path / 'w/other', tmp_path / 'data', [0.1], more=more)
    result, text = table(work / 'slow', tmp_path / 'w/other')
    slow, other = result['runs']
    assert 'experiment_name' not in other['changes']
    shown = cells(text)[3][1]
    # Types first, then what is nearest to the root.
    assert shown.startswith('norm_cfg.type=BN, loss_bbox.type=SmoothL1Loss, init_cfg=yyy')
    assert shown.endswith(' more')
    assert len(other['changes']) == 4 + int(shown.split()[-2])
    assert slow['changes']['model.backbone.norm_cfg.num_groups'] == '4'
    assert 'y' * 41 not in text
