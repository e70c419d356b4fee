"""Command line of tools/train.py."""

import inspect
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmdet_ext.engine.launch import train
from tests.tiny_coco import tiny_run

TOOL = Path(__file__).parents[2] / 'tools' / 'train.py'


def _parse(monkeypatch, *args: str) -> dict:
    monkeypatch.setattr('sys.argv', [str(TOOL), *args])
    return vars(runpy.run_path(str(TOOL))['parse_args']())


def test_defaults(monkeypatch):
    args = _parse(monkeypatch, 'config.py')
    inspect.signature(train).bind(**args)
    assert args == {
        'config': 'config.py',
        'work_dir': None,
        'amp': False,
        'auto_scale_lr': False,
        'resume': None,
        'dataset': None,
        'cfg_options': None,
        'launcher': 'none',
    }


def test_flags(monkeypatch):
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    flags = [
        '--work-dir',
        'w',
        '--amp',
        '--auto-scale-lr',
        '--resume',
        '--dataset',
        'd.py',
        '--launcher',
        'pytorch',
        '--local-rank',
        '3',
    ]
    args = _parse(monkeypatch, 'config.py', *flags, '--cfg-options', 'a.b=[1, 2]', "c=('x y','z')")
    assert args['resume'] == 'auto'
    assert args['cfg_options'] == {'a.b': [1, 2], 'c': ('x y', 'z')}
    assert (args['amp'], args['auto_scale_lr'], args['dataset'], args['launcher']) == (True, True, 'd.py', 'pytorch')
    assert os.environ['LOCAL_RANK'] == '3'
    assert _parse(monkeypatch, 'config.py', '--resume', 'x.pth', '--local_rank', '1')['resume'] == 'x.pth'
    assert os.environ['LOCAL_RANK'] == '3'


def test_bad_flag(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        _parse(monkeypatch, 'config.py', '--launcher', 'pigeon')
    assert 'pigeon' in capsys.readouterr().err


def test_kill_and_resume_equal_an_uninterrupted_run(tmp_path):
    run = tiny_run()
    work_dir = tmp_path / 'run'
    command = [sys.executable, str(TOOL), str(run.config), '--work-dir', str(work_dir)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (work_dir / 'epoch_1.pth').exists():
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -9
    assert not (work_dir / 'epoch_3.pth').exists()
    losses, state = run.train(work_dir=work_dir, resume='auto')
    assert losses == run.losses
    assert all(torch.equal(value, run.state[name]) for name, value in state.items())
