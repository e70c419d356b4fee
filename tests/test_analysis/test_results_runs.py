"""What is read of a work directory, whichever of its files are there."""

import math

import pytest

from mmdet_ext.analysis.results_runs import Measurement, find_work_dirs, read_runs
from mmdet_ext.engine.hooks.run_record_hook import RECORD
from tests.test_analysis.results_case import START, write_config, write_record, write_run
from tests.test_analysis.test_logs.log_case import train_line, write_log


@pytest.fixture
def data(tmp_path):
    return tmp_path / 'data'


def read(folder):
    runs, notes = read_runs([folder], ['run'])
    return runs[0] if runs else notes[0]


def test_a_finished_run(tmp_path, data):
    run = read(write_run(tmp_path / 'a', data, [0.1, 0.3, 0.2], more='randomness = dict(seed=5)'))
    assert run.metrics['coco/bbox_mAP'] == Measurement(last=0.2, best=0.3, best_at=2)
    # Of a loss the lowest is the best; what COCO has no object for is not measured.
    assert run.metrics['coco/loss'] == Measurement(last=pytest.approx(0.8), best=pytest.approx(0.7), best_at=2)
    assert 'coco/bbox_mAP_l' not in run.metrics
    assert (run.seed, run.done, run.planned, run.unit, run.finished) == (1, 3, 3, 'epochs', True)
    assert run.versions['mmdet'] == '3.3.0'
    assert run.config['optim_wrapper.optimizer.lr'] == '0.001'
    assert run.evaluator['val_evaluator.type'] == "'CocoMetric'"
    assert {'val_dataloader.dataset.ann_file', 'val_dataloader.dataset.data_prefix.img'} == set(run.data)
    assert run.notes == []


def test_an_interrupted_run_without_a_record(tmp_path, data):
    run = read(write_run(tmp_path / 'a', data, [0.1, 0.3], record=False))
    assert (run.done, run.planned, run.finished, dict(run.versions)) == (2, 3, False, {})
    assert run.seed == 1  # of the config
    assert run.metrics['coco/bbox_mAP'] == Measurement(0.3, 0.3, 2)


def test_a_run_that_went_to_the_end_without_the_hook(tmp_path, data):
    assert read(write_run(tmp_path / 'a', data, [0.1, 0.3, 0.2], record=False)).finished


def test_a_record_alone(tmp_path, data):
    write_config(tmp_path / 'a', data)
    write_record(tmp_path / 'a', 0.4, seed=7)
    run = read(tmp_path / 'a')
    assert run.metrics == {name: Measurement(0.4, 0.4, None) for name in ('coco/bbox_mAP', 'coco/bbox_mAP_50')}
    assert (run.seed, run.done, run.finished) == (7, 3, True)
    assert 'has no vis_data/scalars.json' in run.notes[0]


def test_a_run_in_iterations(tmp_path, data):
    loop = "train_cfg = dict(type='IterBasedTrainLoop', max_iters=20, val_interval=10)"
    lines = [train_line(10), {'coco/bbox_mAP': 0.2, 'step': 10}, train_line(15)]
    write_log(tmp_path / 'a', lines, START)
    write_config(tmp_path / 'a', data, more=loop)
    run = read(tmp_path / 'a')
    assert (run.done, run.planned, run.unit, run.finished) == (15, 20, 'iterations', False)
    assert run.metrics['coco/bbox_mAP'] == Measurement(0.2, 0.2, 10)
    write_record(tmp_path / 'a', 0.3, iterations=20)
    assert (read(tmp_path / 'a').done, read(tmp_path / 'a').finished) == (20, True)


def test_before_the_first_validation(tmp_path, data):
    write_log(tmp_path / 'a', [train_line(10, 1, loss=3.0)], START)
    write_config(tmp_path / 'a', data)
    run = read(tmp_path / 'a')
    assert (dict(run.metrics), run.done) == ({}, 1)


def test_a_metric_that_is_not_finite(tmp_path, data):
    write_log(tmp_path / 'a', [train_line(10, 1), {'coco/bbox_mAP': math.nan, 'step': 1}], START)
    write_config(tmp_path / 'a', data)
    write_record(tmp_path / 'a', 0.1, metrics={'coco/bbox_mAP': None, 'plain': 3})
    assert read(tmp_path / 'a').metrics == {}


def test_a_run_that_resumed_is_the_one_it_was_begun_as(tmp_path, data):
    folder = write_run(tmp_path / 'a', data, [0.1], record=False, more="load_from = 'start.pth'")
    write_config(folder, data, '20260102_000000', more="load_from = 'a/epoch_1.pth'\nresume = True")
    assert read(folder).config['load_from'] == "'start.pth'"
    assert 'resume' not in read(folder).config
    # A new training in an old folder is that training.
    write_config(folder, data, '20260103_000000', more="load_from = 'new.pth'")
    assert read(folder).config['load_from'] == "'new.pth'"


def test_a_run_of_which_only_the_resumed_start_is_left(tmp_path, data):
    folder = write_run(tmp_path / 'a', data, [0.1], more="load_from = 'a/epoch_1.pth'\nresume = True")
    assert read(folder).config['load_from'] == 'None'


def test_the_config_beside_the_checkpoints_will_do(tmp_path, data):
    folder = write_run(tmp_path / 'a', data, [0.1])
    (folder / START / 'vis_data/config.py').rename(folder / 'tiny.py')
    assert read(folder).config['optim_wrapper.optimizer.lr'] == '0.001'


def test_the_seed_that_mmengine_has_drawn(tmp_path, data):
    folder = write_run(tmp_path / 'a', data, [0.1], seed=None, more='randomness = dict()')
    assert read(folder).seed is None
    (folder / START / f'{START}.log').write_text('System environment:\n    seed: 12345\n    seed_x: 3\n')
    assert read(folder).seed == 12345


def test_validation_data_that_are_not_here(tmp_path, data):
    folder = write_run(tmp_path / 'a', data, [0.1])
    (data / 'ann.json').unlink()
    run = read(folder)
    assert run.data is None
    assert (
        'its validation data are not compared, for they are not here: val_dataloader.dataset.ann_file' in run.notes[0]
    )


def test_what_cannot_be_read_is_a_sentence(tmp_path, data):
    folder = write_run(tmp_path / 'a', data, [0.1], record=False)
    file = folder / START / 'vis_data/config.py'
    text = file.read_text()
    file.write_text('model = (')
    assert read(folder).startswith(f'Left out: {file} cannot be read: SyntaxError')
    file.unlink()
    assert 'has no config' in read(folder)
    file.write_text(text)
    (folder / RECORD).write_text('{')
    assert 'run_record.json is damaged' in read(folder)
    (folder / RECORD).unlink()
    (folder / START / 'vis_data/scalars.json').write_text('')
    assert 'no line of a training' in read(folder)
    # A record of another program is none.
    (folder / RECORD).write_text('{}')
    assert 'no line of a training' in read(folder)


def test_work_dirs_are_found_below_folders(tmp_path, data):
    runs = [write_run(tmp_path / 'w' / name, data, [0.1], record=name != 'b/2') for name in ('b/2', 'b/1', 'a')]
    write_record(tmp_path / 'w/c', 0.2)
    c = tmp_path / 'w/c'
    assert find_work_dirs([tmp_path / 'w']) == [runs[2], runs[1], runs[0], c]
    assert find_work_dirs([runs[0], tmp_path / 'w/b', tmp_path / 'w']) == [runs[0], runs[1], runs[2], c]


def test_folders_without_a_training_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no folder'):
        find_work_dirs([tmp_path / 'gone'])
    with pytest.raises(FileNotFoundError, match='has no training in it'):
        find_work_dirs([tmp_path])
