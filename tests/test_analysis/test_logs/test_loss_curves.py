"""What logs say, as files and as sentences."""

import csv

import pytest

from mmdet_ext.analysis.logs.loss_curves import judge, run_loss_curves, stretch_length
from mmdet_ext.analysis.logs.training_log import read_training_log
from tests.test_analysis.test_logs.log_case import train_line, train_tiny, write_epochs, write_log

FALLING = [8.0, 4.0, 2.0, 1.0]


def run(*work_dirs, **options):
    return run_loss_curves(list(work_dirs), say=lambda _: None, **options)


def test_a_real_training_has_files_and_a_sentence(tmp_path):
    said, trained = [], train_tiny(tmp_path / 'run')
    verdicts = run_loss_curves([tmp_path / 'run'], out=tmp_path, say=said.append)
    assert verdicts['run'][0].startswith('No alarm: loss went from ')
    assert said[-1] == f'Curves and numbers: {tmp_path}/loss_curves.png, .csv, .md'
    assert (tmp_path / 'loss_curves.md').read_text() in said[0] + '\n'
    assert (tmp_path / 'loss_curves.png').stat().st_size > 10_000
    with (tmp_path / 'loss_curves.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['iteration'] for row in rows if row['loss']] == ['1', '2', '3', '4', '5', '6']
    losses = [float(row['loss']) for row in rows if row['loss']]
    assert losses == pytest.approx(trained)
    assert 0 < float(rows[0]['iterations_per_second']) == 1 / float(rows[0]['time'])


def test_order_of_columns_and_running_means(tmp_path):
    write_epochs(tmp_path / 'w', {'acc': FALLING, 'loss_a': FALLING, 'loss': FALLING}, per_epoch=100, logged=10)
    run(tmp_path / 'w')
    with (tmp_path / 'w' / 'loss_curves' / 'loss_curves.csv').open(newline='') as file:
        head, *rows = csv.reader(file)
    assert head[:5] == ['run', 'iteration', 'epoch', 'loss', 'loss_a']
    assert head.index('coco/bbox_mAP') > head.index('acc')
    assert 'lr' in head
    assert 'lr (mean)' not in head
    assert 'coco/bbox_mAP (mean)' not in head
    assert rows[0][:4] == ['w', '10', '1', '8.0']
    # A tenth of the training, 40 iterations: two lines of each epoch.
    beyond = next(row for row in rows if row[1] == '120')
    assert float(beyond[head.index('loss (mean)')]) == 6.0


def test_the_sum_over_cells_of_the_seed(tmp_path):
    losses = {'loss_cls': [1.28, 6.81, 1.76], 'loss_bbox': [4.24, 5.81, 4.18], 'loss_obj': [148.0, 27.5, 8.1]}
    losses['loss'] = [sum(values) for values in zip(*losses.values(), strict=True)]
    write_epochs(tmp_path, losses)
    (sentence,) = judge(read_training_log(tmp_path), 50)
    assert sentence.startswith('loss_obj is 96 % of the total loss (148 of 153.5, mean of epoch 1)')
    assert sentence.endswith('(So it was at the end of 1 of 3 epochs.)')


def test_nothing_changes(tmp_path):
    write_epochs(tmp_path, {'loss': [20.0, 9.3, 9.4, 9.2, 9.5, 9.3, 9.4]})
    (sentence,) = judge(read_training_log(tmp_path), 50, epochs=4)
    assert sentence.startswith('loss does not change over the last 4 epochs, up to epoch 5 (')
    assert sentence.endswith('(So it was at the end of 3 of 7 epochs, the last one too.)')


def test_stretches_of_iterations(tmp_path):
    write_log(tmp_path / 'a', [train_line(i, loss=5.0) for i in range(100, 2001, 100)])
    log = read_training_log(tmp_path / 'a')
    assert stretch_length(log) == 100
    (sentence,) = judge(log, 200)
    assert 'the last 5 stretches of 200 iterations, up to iterations 801 to 1000' in sentence
    write_epochs(tmp_path / 'b', {'loss': FALLING}, per_epoch=10)
    # Short epochs are noise.
    assert stretch_length(read_training_log(tmp_path / 'b')) == 50
    verdicts = run(tmp_path / 'b', interval=10)
    assert verdicts == {'b': ['No alarm: loss went from 8 to 1 in 4 epochs.']}


def test_several_runs_each_with_its_name(tmp_path):
    for name in ('x/run', 'y/run', 'other'):
        write_epochs(tmp_path / name, {'loss': FALLING, 'loss_a': FALLING, 'loss_b': [1.0] * 4})
    verdicts = run(tmp_path / 'x/run', tmp_path / 'other')
    assert list(verdicts) == ['run', 'other']
    verdicts = run(tmp_path / 'x/run', tmp_path / 'y/run', out=tmp_path / 'out')
    assert list(verdicts) == [str(tmp_path / 'x/run'), str(tmp_path / 'y/run')]
    text = (tmp_path / 'out' / 'loss_curves.md').read_text()
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()]
    assert ['loss_a', '8', '1', '1', '8', '0.50'] in cells
    # What has no finite value (there is no large object) has no row.
    assert 'bbox_mAP_l' not in text
    with (tmp_path / 'out' / 'loss_curves.csv').open(newline='') as file:
        assert {row['run'] for row in csv.DictReader(file)} == set(verdicts)


def test_a_file_has_its_results_beside_it(tmp_path):
    file = write_epochs(tmp_path, {'loss': FALLING})
    run(file)
    assert (file.parent / 'loss_curves' / 'loss_curves.md').is_file()


def test_a_log_without_a_total_and_with_a_cut_line(tmp_path):
    write_log(tmp_path, [train_line(1, acc=1.0), '{"acc'])
    note, sentence = judge(read_training_log(tmp_path), 50)
    assert 'is cut off' in note
    assert sentence == "The log has no total ('loss'), so nothing can be said about it."


@pytest.mark.parametrize(
    ('options', 'sentence'), [({'interval': 0}, 'at least 1 iteration, got 0'), ({'share': 2}, 'share must be above')]
)
def test_bad_options(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(tmp_path, **options)
