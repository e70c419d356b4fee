"""mmengine's logs: several starts, validations, damage, running means."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdet_ext.analysis.logs.training_log import (
    is_noisy,
    means_by_stretch,
    read_training_log,
    running_mean,
)
from tests.test_analysis.test_logs.log_case import train_line, train_tiny, write_epochs, write_log


def test_a_real_training(tmp_path):
    trained = train_tiny(tmp_path / 'run')
    log = read_training_log(tmp_path / 'run')
    assert log.name == 'run'
    assert len(log.files) == 1
    iterations, losses = log.points('loss')
    assert iterations.tolist() == [1, 2, 3, 4, 5, 6]
    assert losses.tolist() == pytest.approx(trained)
    assert (log.last_iteration, log.epoch_length) == (6, 2)
    assert {'lr', 'loss_cls', 'loss_bbox', 'time', 'iterations_per_second', 'coco/bbox_mAP'} <= set(log.names)
    # A validation stands at the iteration it came after, and its time is not that of training.
    assert log.points('coco/bbox_mAP')[0].tolist() == [2, 4, 6]
    assert len(log.points('time')[0]) == 6


def test_folder_of_a_start_and_the_file_itself(tmp_path):
    file = write_log(tmp_path / 'w', [train_line(1, loss=2.0)])
    for place in (tmp_path / 'w', file.parents[1], file):
        assert read_training_log(place, 'mine').points('loss')[1].tolist() == [2.0]
    assert read_training_log(file, 'mine').name == 'mine'


def test_speed_and_hierarchical_names(tmp_path):
    write_log(tmp_path, [{'train/loss': 1.0, 'train/time': 0.25, 'iter': 1}, {'time': 0, 'iter': 2, 'text': 'x'}])
    log = read_training_log(tmp_path)
    assert log.points('iterations_per_second')[1].tolist() == [4.0]
    assert log.names == ['loss', 'time', 'iterations_per_second']


def test_validation_losses_have_names_of_their_own(tmp_path):
    lines = [{'coco/bbox_mAP': 0.5, 'step': 0}, train_line(4, loss=1.0), {'loss': 7.0, 'acc/x': -1.0, 'step': 1}]
    write_log(tmp_path, lines)
    log = read_training_log(tmp_path)
    assert log.points('loss')[1].tolist() == [1.0]
    assert [values.tolist() for values in log.points('val/loss')] == [[4.0], [7.0]]
    # What came before the first training line (a test) has no place; COCO's -1 is no value.
    assert 'coco/bbox_mAP' not in log.names
    assert np.isnan(log.points('acc/x')[1]).all()


def test_a_resumed_training_repeats_nothing(tmp_path):
    write_log(tmp_path, [train_line(i, loss=float(i)) for i in (10, 20, 30)], '20260101_000000')
    write_log(tmp_path, [train_line(i, loss=-float(i)) for i in (20, 30, 40)], '20260102_000000')
    write_log(tmp_path, [], '20260103_000000')
    log = read_training_log(tmp_path)
    assert log.points('loss')[1].tolist() == [10.0, -20.0, -30.0, -40.0]
    assert len(log.files) == 3


def test_a_new_training_in_an_old_folder_replaces_it(tmp_path):
    write_log(tmp_path, [train_line(i, loss=1.0) for i in (10, 20, 30)], '20260101_000000')
    write_log(tmp_path, [train_line(10, loss=2.0)], '20260102_000000')
    assert read_training_log(tmp_path).points('loss')[1].tolist() == [2.0]


def test_two_trainings_in_one_file(tmp_path):
    """Two runs of one process share mmengine's visualizer, and so the file."""
    write_log(tmp_path, [train_line(1, loss=1.0), train_line(2, loss=1.0), train_line(1, loss=5.0)])
    assert read_training_log(tmp_path).points('loss')[1].tolist() == [5.0]


def test_damage(tmp_path):
    file = write_log(tmp_path / 'cut', [train_line(1, loss=1.0), '{"loss": 2.0, "it'])
    log = read_training_log(tmp_path / 'cut')
    assert log.notes == (f'The last line of {file} is cut off and was left out.',)
    assert log.points('loss')[1].tolist() == [1.0]
    file = write_log(tmp_path / 'torn', ['{"loss', train_line(1, loss=1.0)])
    with pytest.raises(ValueError, match=r'scalars.json, line 1 is damaged: Unterminated'):
        read_training_log(tmp_path / 'torn')
    write_log(tmp_path / 'other', ['[1, 2]'])
    with pytest.raises(ValueError, match=r"scalars.json, line 1 is '\[1, 2\]'; a line of mmengine is a dict"):
        read_training_log(tmp_path / 'other')


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'has no vis_data/scalars.json, neither itself nor below'):
        read_training_log(tmp_path)
    write_log(tmp_path, [{'coco/bbox_mAP': 0.5, 'step': 1}])
    with pytest.raises(ValueError, match='no line of a training'):
        read_training_log(tmp_path)
    write_log(tmp_path / 'bare', [{'iter': 1}])
    with pytest.raises(ValueError, match=r'scalars\.json: its lines hold no scalar, such as a loss'):
        read_training_log(tmp_path / 'bare')


def test_no_epochs_no_length(tmp_path):
    write_log(tmp_path / 'a', [train_line(i, loss=1.0) for i in (10, 20)])
    assert read_training_log(tmp_path / 'a').epoch_length is None
    # Resumed in the third epoch, an interval that does not divide the epoch.
    lines = [train_line(2 * 7 + 5, 3, loss=1.0), train_line(3 * 7 + 5, 4, loss=1.0)]
    write_log(tmp_path / 'b', lines)
    assert read_training_log(tmp_path / 'b').epoch_length == 7


def test_what_is_noisy():
    names = ['loss', 'iou', 'memory', 'time', 'lr', 'base_lr', 'optim.lr', 'momentum', 'coco/bbox_mAP']
    assert [name for name in names if is_noisy(name)] == ['loss', 'iou', 'memory', 'time']


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    window=st.integers(1, 20),
    data=st.data(),
)
def test_running_mean_equals_a_loop(steps, window, data):
    iterations = np.cumsum(steps).astype(float)
    value = st.one_of(st.floats(-100, 100), st.just(float('nan')), st.just(float('inf')))
    values = np.array(data.draw(st.lists(value, min_size=len(steps), max_size=len(steps))))
    slow = []
    for place in iterations:
        near = [v for i, v in zip(iterations, values, strict=True) if place - window < i <= place and np.isfinite(v)]
        slow.append(np.mean(near) if near else np.nan)
    np.testing.assert_allclose(running_mean(iterations, values, window), slow, atol=1e-9)


def test_means_by_stretch(tmp_path):
    write_epochs(tmp_path / 'a', {'loss': [4.0, 2.0, 1.0]}, per_epoch=50, logged=2)
    log = read_training_log(tmp_path / 'a')
    assert means_by_stretch(log, ['loss'], 50) == {'loss': [4.0, 2.0, 1.0]}
    assert means_by_stretch(log, ['loss'], 100) == {'loss': [3.0]}
    # Shorter than one stretch: what there is.
    assert means_by_stretch(log, ['loss'], 1000)['loss'] == [pytest.approx(7 / 3)]


def test_the_last_epoch_counts_though_its_end_is_not_logged(tmp_path):
    # 722 iterations an epoch, a line every 50 of them, as in the log of the seed.
    lines = [
        train_line(722 * epoch + i, epoch + 1, loss=float(epoch)) for epoch in range(2) for i in range(50, 722, 50)
    ]
    write_log(tmp_path / 'whole', lines)
    log = read_training_log(tmp_path / 'whole')
    assert log.epoch_length == 722
    assert means_by_stretch(log, ['loss'], 722) == {'loss': [0.0, 1.0]}
    write_log(tmp_path / 'killed', lines[:-2])
    assert means_by_stretch(read_training_log(tmp_path / 'killed'), ['loss'], 722) == {'loss': [0.0]}
    write_log(tmp_path / 'one', [train_line(1, loss=3.0)])
    assert means_by_stretch(read_training_log(tmp_path / 'one'), ['loss'], 50) == {'loss': [3.0]}


def test_lines_are_json_with_nan(tmp_path):
    write_log(tmp_path, [json.dumps(train_line(1, loss=float('nan')))])
    assert np.isnan(read_training_log(tmp_path).points('loss')[1]).all()
