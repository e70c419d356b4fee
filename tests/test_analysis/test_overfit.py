"""A tiny detector learns two images by heart; one that cannot is told why."""

import csv
import math

import pytest

from mmdet_ext.analysis.logs.training_log import read_training_log
from mmdet_ext.analysis.overfit import judge_overfit, run_overfit
from tests.test_analysis.test_logs.log_case import train_line, write_log
from tests.tiny_coco import make_tiny_coco, tiny_config

FAST = {'optim_wrapper.optimizer.lr': 3e-3}


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    file = folder / 'tiny.py'
    file.write_text(tiny_config(make_tiny_coco(folder / 'data', n=8), batch_size=4))
    return file


def test_two_images_are_learnt_and_the_training_ends(config, tmp_path):
    said = []
    result = run_overfit(config, num=2, iters=120, work_dir=tmp_path, cfg_options=FAST, say=said.append)
    assert result['reached']
    assert result['ap'] >= 0.9
    assert result['ap_50'] == 1.0
    assert result['iterations'] < 120
    assert said[0] == 'Transforms left out: RandomCrop, RandomFlip.'
    assert any(line.lstrip().startswith('iteration ') for line in said)
    assert said[-2] == result['sentence'] == f'AP {result["ap"]:.3f} after {result["iterations"]} iterations: the ' \
        'detector learns these images by heart.'  # fmt: skip
    with (tmp_path / 'overfit.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]['coco/bbox_mAP']) == result['ap']
    assert float(rows[0]['loss']) > 3 * float([row['loss'] for row in rows if row['loss']][-1])
    assert (tmp_path / 'overfit.png').stat().st_size > 10_000
    assert list(tmp_path.glob('iter_*.pth'))
    assert "type='EarlyStoppingHook'" in (tmp_path / 'overfit.py').read_text()


def test_a_detector_that_cannot_learn_and_a_second_run_beside_the_first(config, tmp_path):
    frozen = {'optim_wrapper.optimizer.lr': 0.0}
    for iters in (3, 2):
        result = run_overfit(config, num=1, iters=iters, work_dir=tmp_path, cfg_options=frozen, say=lambda _: None)
        assert not result['reached']
        assert result['iterations'] == iters
        assert 'is below 0.9: the loss went from' in result['sentence']
        assert 'so hardly anything was learnt' in result['sentence']


def test_the_default_folder_and_a_training_that_fails(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match=r'all that was printed until then: work_dirs/overfit/tiny/train\.log'):
        run_overfit(config, num=1, cfg_options={'optim_wrapper.optimizer.lr': -1.0}, say=lambda _: None)
    assert (tmp_path / 'work_dirs' / 'overfit' / 'tiny' / 'overfit.py').is_file()


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'num': 0}, 'num and iters must be at least 1, got 0 and 300'),
        ({'iters': 0}, 'got 8 and 0'),
        ({'target': 0}, 'target must be an AP above 0 and up to 1, got 0'),
        ({'target': 90}, 'got 90'),
    ],
)
def test_bad_numbers(config, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run_overfit(config, **options)


def judge(folder, losses, ap=None, ap_50=0.0):
    """Twenty lines from the first to the last of the losses, and a validation."""
    lines = []
    for step in range(20):
        values = {name: first + (last - first) * step / 19 for name, (first, last) in losses.items()}
        lines.append(train_line(step + 1, **values))
    validation = [] if ap is None else [{'coco/bbox_mAP': ap, 'coco/bbox_mAP_50': ap_50, 'step': 1}]
    write_log(folder, [*lines, *validation])
    return judge_overfit(read_training_log(folder), 0.9)


@pytest.mark.parametrize(
    ('last', 'ap', 'ap_50', 'cause'),
    [
        (0.1, None, 0.0, 'next to nothing of it is detected: training and inference disagree'),
        (0.1, math.nan, math.nan, 'next to nothing of it is detected'),
        (0.1, 0.5, 0.95, 'the objects are found, but their boxes are not exact'),
        (0.1, 0.3, 0.5, 'part of the objects is missed'),
        (9.0, 0.3, 0.5, 'so hardly anything was learnt'),
        (math.nan, 0.0, 0.0, 'loss_a is nan in the mean of the last iterations'),
    ],
)
def test_causes(tmp_path, last, ap, ap_50, cause):
    result = judge(tmp_path, {'loss': (10.0, last), 'loss_a': (5.0, last / 2), 'loss_b': (5.0, last / 2)}, ap, ap_50)
    assert not result['reached']
    assert result['sentence'].startswith(f'AP {0 if ap is None or math.isnan(ap) else ap:.3f} (at IoU 0.5: ')
    assert cause in result['sentence']
    assert 'of the total' not in result['sentence']


def test_a_term_that_drowns_the_others_is_named(tmp_path):
    result = judge(tmp_path, {'loss': (10.0, 9.9), 'loss_a': (9.5, 9.5), 'loss_b': (0.5, 0.4)}, 0.1, 0.2)
    assert 'loss_a is 96 % of the total loss' in result['sentence']


def test_the_best_validation_counts(tmp_path):
    lines = [train_line(1, loss=1.0), {'coco/bbox_mAP': 0.9, 'coco/bbox_mAP_50': 1.0}]
    write_log(tmp_path, [*lines, train_line(2, loss=1.0), {'coco/bbox_mAP': 0.2, 'coco/bbox_mAP_50': 0.3}])
    result = judge_overfit(read_training_log(tmp_path), 0.9)
    assert (result['ap'], result['ap_50'], result['iterations'], result['reached']) == (0.9, 1.0, 2, True)
    assert result['sentence'].startswith('AP 0.900 after 1 iterations')
