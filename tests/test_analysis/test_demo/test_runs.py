"""Restarting the demo's trainings: kept, resumed or begun again. The trainings themselves are stand-ins here."""

import json
import os
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_ext.analysis.demo import runs as demo_runs
from mmdet_ext.analysis.demo.runs import (
    TrainingState,
    describe_progress,
    find_config,
    format_seconds,
    quiet_console,
    train_detector,
)

LINE = '11/21 05:01:27 - mmengine - INFO - Epoch(train) [2][25/75]  lr: 5e-05  eta: 0:01:40  loss: 3.2410  loss_cls: 2'
CONFIG = find_config('scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py')


class Trainings:
    """Stand-in for `train`: notes its calls, prints, and writes what mmengine writes, or fails before the end."""

    def __init__(self):
        self.resumes = []
        self.fail = False

    def __call__(self, config, *, work_dir, cfg_options, resume):
        self.resumes.append(resume)
        print('wall of text')
        print(LINE)
        print('a warning', file=sys.stderr)
        name = 'epoch_1.pth' if self.fail else 'epoch_8.pth'
        (work_dir / name).write_bytes(b'')
        (work_dir / 'last_checkpoint').write_text(f'/elsewhere/{name}')
        if self.fail:
            raise KeyError('lost')


def read_config(config, options):
    """Stand-in that takes no seconds: the options, and where the data is."""
    return Config({'data_root': f'{os.environ.get("MMDET_EXT_CHEST_PHANTOM")}/', 'options': list(options.items())})


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Call `train_detector` in one folder; returns the call, what it said, and the stand-in."""
    trainings, said = Trainings(), []
    monkeypatch.setattr(demo_runs, 'train', trainings)
    monkeypatch.setattr(demo_runs, 'read_config', read_config)

    def call(options=(), phantom='hash', fresh=False, data=Path('/data')):
        said.clear()
        folder = tmp_path / 'baseline'
        return train_detector(CONFIG, folder, dict(options), data, phantom, fresh=fresh, say=said.append)

    return call, said, trainings


def test_first_training(run, tmp_path, capsys):
    call, said, trainings = run
    state = call()
    assert state.checkpoint == 'epoch_8.pth'
    assert trainings.resumes == [None]
    assert said == [
        '  epoch 2, iteration 25/75   loss 3.241   0:01:40 to go',
        f'  done in {format_seconds(state.seconds)}',
    ]
    assert capsys.readouterr() == ('', '')
    log = (tmp_path / 'baseline' / 'train.log').read_text()
    assert log == f'wall of text\n{LINE}\na warning\n'
    assert json.loads((tmp_path / 'baseline' / 'demo_state.json').read_text())['checkpoint'] == 'epoch_8.pth'


def test_finished_training_is_kept_until_config_or_data_change_or_by_fresh(run, tmp_path):
    call, said, trainings = run
    call()
    call()
    assert len(trainings.resumes) == 1
    assert 'trained before' in said[0]
    call(phantom='other')
    assert 'data have changed' in said[0]
    call({'optim_wrapper.optimizer.lr': 0.5}, phantom='other')
    assert 'have changed' in said[0]
    (tmp_path / 'baseline' / 'mark').touch()
    call({'optim_wrapper.optimizer.lr': 0.5}, phantom='other', fresh=True)
    assert '--fresh' in said[0]
    assert trainings.resumes == [None] * 4
    assert not (tmp_path / 'baseline' / 'mark').exists()


def test_a_lost_checkpoint_is_trained_again(run, tmp_path):
    call, _, trainings = run
    call()
    (tmp_path / 'baseline' / 'epoch_8.pth').unlink()
    call()
    assert trainings.resumes == [None, 'auto']


def test_an_interrupted_training_is_resumed_and_its_time_counts(run, tmp_path):
    call, said, trainings = run
    trainings.fail = True
    with pytest.raises(RuntimeError, match=r"KeyError: 'lost' .*train\.log"):
        call()
    file = tmp_path / 'baseline' / 'demo_state.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | {'seconds': 100.0}))
    trainings.fail = False
    assert call().seconds >= 100
    assert trainings.resumes == [None, 'auto']
    assert 'resuming' in said[0]


def test_interrupted_before_the_first_checkpoint(run, tmp_path):
    call, said, trainings = run
    call()
    file = tmp_path / 'baseline' / 'demo_state.json'
    file.write_text(json.dumps(json.loads(file.read_text()) | {'checkpoint': None}))
    (tmp_path / 'baseline' / 'last_checkpoint').unlink()
    call()
    assert 'starting again' in said[0]
    assert trainings.resumes == [None, None]


def test_a_folder_of_somebody_else_is_left_alone(run, tmp_path):
    (tmp_path / 'baseline').mkdir()
    (tmp_path / 'baseline' / 'thesis.tex').touch()
    with pytest.raises(ValueError, match='did not write: choose another --work-dir'):
        run[0]()


def test_where_the_data_stands_makes_no_other_training(run, monkeypatch):
    call, _, trainings = run
    for folder in ('/first/place', '/second/place'):
        monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', folder)
        call(data=Path(folder))
    assert len(trainings.resumes) == 1


def test_what_on_line_prints_is_seen(tmp_path, capsys):
    with quiet_console(tmp_path / 'new' / 'a.log', print):
        sys.stdout.write('half a ')
        sys.stdout.write('line\nrest')
    assert capsys.readouterr().out == 'half a line\n'
    assert (tmp_path / 'new' / 'a.log').read_text() == 'half a line\nrest'


def test_progress_lines():
    assert describe_progress('mmengine - INFO - Epoch(val) [1][25/25]  eta: 0:00:01  loss: 1.0') is None
    assert 'loss nan' in describe_progress(LINE.replace('3.2410', 'nan'))
    by_iteration = LINE.replace('Epoch(train) [2][25/75]', 'Iter(train) [ 25/300]')
    assert describe_progress(by_iteration) == '  iteration  25/300   loss 3.241   0:01:40 to go'
    assert [format_seconds(seconds) for seconds in (4.4, 59.7, 185)] == ['4 s', '1 min 00 s', '3 min 05 s']


def test_configs_are_found_in_checkout_and_package(tmp_path, monkeypatch):
    assert CONFIG.is_file()
    package = tmp_path / 'mmdet_ext'
    (package / '.mim' / 'configs').mkdir(parents=True)
    (package / '.mim' / 'configs' / 'a.py').touch()
    monkeypatch.setattr(demo_runs.mmdet_ext, '__file__', str(package / '__init__.py'))
    assert find_config('a.py') == package / '.mim' / 'configs' / 'a.py'
    with pytest.raises(FileNotFoundError, match=r'b\.py is neither'):
        find_config('b.py')


def test_state_compares_config_and_data_only():
    assert TrainingState('a', 'b', 1.0).same_run(TrainingState('a', 'b', 2.0, 'x.pth'))
    assert not TrainingState('a', 'b').same_run(TrainingState('a', 'c'))
