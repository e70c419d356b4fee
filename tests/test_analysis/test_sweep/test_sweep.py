"""Stored predictions, scored again."""

import csv
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmdet.structures.mask import encode_mask_results

from mmdet_ext.analysis.sweep import sweep
from mmdet_ext.analysis.sweep.sweep import best_row, run_sweep
from mmdet_ext.engine.launch import test as run_test
from tests.test_analysis.test_sweep.sweep_case import write_case
from tests.tiny_coco import tiny_run


def run(config, pickled, **options):
    return run_sweep(config, pickled, say=lambda _: None, **options)


def test_the_row_of_the_stored_settings_has_the_figures_of_the_test(tmp_path):
    tiny, pickled = tiny_run(), tmp_path / 'p.pkl'
    own = {'visualizer.name': str(tmp_path), 'experiment_name': 'sweep_test'}
    tested = run_test(tiny.config, tiny.work_dir / 'epoch_3.pth', work_dir=tmp_path, out=str(pickled), cfg_options=own)
    result = run(tiny.config, pickled, score_thrs=[0.0], top_ks=[10])
    (row,) = result['rows']
    for name in ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75'):
        assert row['metrics'][name] == tested[name]
    assert row['most'] <= 10
    assert result['images'] == 4


def test_thresholds_and_top_k(tmp_path):
    config, pickled = write_case(tmp_path)
    said = []
    result = run_sweep(config, pickled, score_thrs=[0.3, 0.7, 0.9], top_ks=[1, 5], say=said.append)
    rows = {(row['score_thr'], row['top_k']): row for row in result['rows']}
    assert [row['metrics']['coco/bbox_mAP'] for row in result['rows']] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    assert [row['metrics']['coco/bbox_AR@100'] for row in result['rows']] == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    # The true box of score 0.8, and those of 0.6 to 0.35.
    assert [row['detections'] for row in result['rows']] == [1, 5, 1, 1, 0, 0]
    assert rows[0.3, 5]['most'] == 5
    assert rows[0.9, 5]['bytes'] == 2
    assert rows[0.3, 5]['bytes'] > 4 * rows[0.3, 1]['bytes'] > 400
    # Of equal ones the smallest result.
    assert result['rows'][result['best']['coco/bbox_mAP']]['top_k'] == 1
    assert '[1/6] score threshold 0.3, top-k 1: coco/bbox_mAP 1.000, 1.0 boxes per image' in said
    folder = tmp_path / 'p_sweep'
    assert said[-1] == f'Table and plot: {folder}/sweep.md, .csv, .png'
    with (folder / 'sweep.csv').open(newline='') as file:
        assert [float(row['coco/bbox_mAP']) for row in csv.DictReader(file)] == [1, 1, 1, 1, 0, 0]
    assert (folder / 'sweep.png').stat().st_size > 5000


def test_the_size_is_that_of_the_json(tmp_path, monkeypatch):
    config, pickled = write_case(tmp_path)
    sizes = []
    real = sweep.CocoMetric.results2json

    def spy(self, results, prefix):
        files = real(self, results, prefix)
        sizes.append(len(json.dumps(json.loads(Path(files['bbox']).read_text())).encode()))
        return files

    monkeypatch.setattr(sweep.CocoMetric, 'results2json', spy)
    result = run(config, pickled, score_thrs=[0.3], top_ks=[5])
    assert [row['bytes'] for row in result['rows']] == sizes


def test_the_same_boxes_are_evaluated_once(tmp_path, monkeypatch):
    config, pickled = write_case(tmp_path)
    calls = []
    real = sweep.evaluate
    monkeypatch.setattr(sweep, 'evaluate', lambda *args: calls.append(1) or real(*args))
    result = run(config, pickled, score_thrs=[0.01, 0.02, 0.3], top_ks=[100, 300], nms_ious=[0.5, 0.9])
    assert len(result['rows']) == 12
    assert len(calls) == 2


def test_notes_are_said_and_written(tmp_path):
    config, pickled = write_case(tmp_path, score_thr=0.04, max_per_img=13)
    said = []
    result = run_sweep(config, pickled, score_thrs=[0.01], top_ks=[50], say=said.append)
    assert 'were cut at a score of 0.04 (model.test_cfg.score_thr): the rows at 0.01' in said[0]
    assert 'were cut at 13 boxes per image' in said[1]
    assert result['notes'] == said[:2]
    assert said[0] in (tmp_path / 'p_sweep' / 'sweep.md').read_text()


def test_masks_and_other_metrics(tmp_path):
    config, pickled = write_case(tmp_path)
    samples = pickle.loads(pickled.read_bytes())
    for sample in samples:
        masks = np.zeros((13, 64, 64), dtype=bool)
        for mask, box in zip(masks, sample['pred_instances']['bboxes'].long().tolist(), strict=True):
            mask[box[1] : box[3] + 1, box[0] : box[2] + 1] = True
        sample['pred_instances']['masks'] = encode_mask_results(masks)
    pickled.write_bytes(pickle.dumps(samples, 2))
    text = config.read_text()
    ann = text.split("ann_file='")[1].split("'")[0]
    config.write_text(
        text
        + f"""
test_evaluator = [
    dict(type='CocoMetric', ann_file={ann!r}, metric=['bbox', 'segm'], classwise=True),
    dict(type='CocoIoUMetric', ann_file={ann!r}, iou_thrs=[0.01], prefix='iou01'),
    dict(type='CocoIoUMetric', ann_file={ann!r}, iou_thrs=[0.5], prefix='iou50', metric_items=None),
    dict(type='CocoMetric', ann_file={ann!r}, metric='proposal_fast'),
    dict(type='DumpDetResults', out_file_path='x.pkl')]
"""
    )
    result = run(config, pickled, score_thrs=[0.3], top_ks=[1, 5], out=tmp_path / 'out')
    assert result['metrics'][:5] == [
        'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_75', 'coco/bbox_AR@100', 'coco/segm_mAP',
    ]  # fmt: skip
    assert result['metrics'][8:] == ['iou01/bbox_mAP', 'iou50/bbox_mAP']
    first, second = result['rows']
    assert first['metrics']['coco/segm_mAP'] > 0.8
    assert first['metrics']['iou01/bbox_mAP'] == 1.0
    plain = run(*write_case(tmp_path / 'plain'), score_thrs=[0.3], top_ks=[1])['rows'][0]['bytes']
    assert first['bytes'] > 2 * plain
    assert second['bytes'] > first['bytes']


def test_no_objects_are_no_value(tmp_path):
    config, pickled = write_case(tmp_path)
    ann = tmp_path / 'data' / 'ann.json'
    content = json.loads(ann.read_text())
    ann.write_text(json.dumps({**content, 'annotations': []}))
    result = run(config, pickled, score_thrs=[0.3], top_ks=[1])
    assert set(result['rows'][0]['metrics'].values()) == {None}
    assert set(result['best'].values()) == {None}


def test_part_of_the_images(tmp_path):
    config, pickled = write_case(tmp_path)
    pickled.write_bytes(pickle.dumps(pickle.loads(pickled.read_bytes())[:3], 2))
    result = run(config, pickled, score_thrs=[0.3], top_ks=[1])
    assert result['notes'] == ['There are predictions for 3 of the 4 annotated images; others count as empty.']
    assert result['rows'][0]['metrics']['coco/bbox_mAP'] < 1


@pytest.mark.parametrize(
    ('key', 'value', 'sentence'),
    [
        ('img_id', 99, '1 of 4 predicted images are not in the annotation file of test_evaluator, such as 99'),
        ('labels', 5, 'image 3 has label 5, but the config has 2 classes'),
        ('labels', -1, 'image 3 has label -1'),
    ],
)
def test_predictions_of_other_data(tmp_path, key, value, sentence):
    config, pickled = write_case(tmp_path)
    samples = pickle.loads(pickled.read_bytes())
    if key == 'labels':
        samples[-1]['pred_instances']['labels'][:] = value
    else:
        samples[-1][key] = value
    pickled.write_bytes(pickle.dumps(samples, 2))
    with pytest.raises(ValueError, match=sentence):
        run(config, pickled)


@pytest.mark.parametrize(
    ('evaluator', 'error', 'sentence'),
    [
        ("dict(type='CocoMetric')", ValueError, 'has no annotations to evaluate against'),
        ("dict(type='CocoMetric', ann_file='a.json', format_only=True, outfile_prefix='x')", ValueError, 'format_only'),
        ("dict(type='CocoMetric', ann_file='nowhere.json')", FileNotFoundError, 'no annotation file nowhere.json'),
        ("dict(type='VOCMetric')", ValueError, 'test_evaluator is VOCMetric; a sweep needs a CocoMetric'),
        ("dict(type='OwnMetric')", ValueError, "unknown type 'OwnMetric'; name the module that registers it"),
        ('None', ValueError, 'test_evaluator is nothing'),
    ],
)
def test_evaluators_that_cannot_be_used(tmp_path, evaluator, error, sentence):
    config, pickled = write_case(tmp_path)
    config.write_text(f'{config.read_text()}\ntest_evaluator = {evaluator}\n')
    with pytest.raises(error, match=sentence):
        run(config, pickled)


def test_the_best_of_equals_is_the_smallest():
    rows = [{'metrics': {'a': value}, 'bytes': size} for value, size in ((0.5, 9), (0.6, 8), (0.6, 7), (None, 1))]
    assert best_row(rows, 'a') == 2
    assert best_row(rows[3:], 'a') is None
