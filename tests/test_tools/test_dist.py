"""dist_*.sh and slurm_*.sh: quoting, environment, and two ranks that train, resume and test without a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny_coco import make_tiny_coco, tiny_config

TOOLS = Path(__file__).parents[2] / 'tools'
ODD = 'metainfo.classes=("a b", "[c]*")'


def _call(script: str, *args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', **env}
    for name in ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT'):
        environment.pop(name, None) if name not in env else None
    return subprocess.run([str(TOOLS / script), *args], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.fixture
def echo(tmp_path) -> Path:
    """A program that prints PYTHONPATH and its arguments, one per line, in place of python and srun."""
    bin_dir = tmp_path / 'bin'
    bin_dir.mkdir()
    program = bin_dir / 'srun'
    program.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$PYTHONPATH" "$@"\n')
    program.chmod(0o755)
    return program


def test_dist_train_arguments(tmp_path, echo):
    env = {'PYTHON': str(echo), 'NNODES': '2', 'NODE_RANK': '1', 'PORT': '1234', 'MASTER_ADDR': 'host'}
    lines = _call('dist_train.sh', 'my config.py', '4', '--cfg-options', ODD, cwd=tmp_path, **env).stdout.splitlines()
    assert lines[0].split(':')[0] == str(TOOLS.parent)
    assert lines[1:] == [
        '-m',
        'torch.distributed.run',
        '--nnodes=2',
        '--node_rank=1',
        '--master_addr=host',
        '--master_port=1234',
        '--nproc_per_node=4',
        str(TOOLS / 'train.py'),
        'my config.py',
        '--launcher',
        'pytorch',
        '--cfg-options',
        ODD,
    ]


def test_dist_test_arguments(tmp_path, echo):
    env = {'PYTHON': str(echo), 'PORT': '1234'}
    lines = _call('dist_test.sh', 'c.py', 'my x.pth', '2', '--tta', cwd=tmp_path, **env).stdout.splitlines()
    assert lines[6:] == [
        '--master_port=1234',
        '--nproc_per_node=2',
        str(TOOLS / 'test.py'),
        'c.py',
        'my x.pth',
        '--launcher',
        'pytorch',
        '--tta',
    ]


@pytest.mark.parametrize(('script', 'last'), [('slurm_train.sh', ['--work-dir', 'w d']), ('slurm_test.sh', ['w d'])])
def test_slurm_arguments(tmp_path, echo, script, last):
    path = f'{echo.parent}:{os.environ["PATH"]}'
    env = {'PATH': path, 'GPUS': '16', 'GPUS_PER_NODE': '4', 'CPUS_PER_TASK': '2', 'SRUN_ARGS': '--qos x --mem=1G'}
    result = _call(script, 'part', 'job name', 'c.py', 'w d', '--cfg-options', ODD, cwd=tmp_path, **env)
    assert result.stdout.splitlines()[1:] == [
        '-p',
        'part',
        '--job-name=job name',
        '--gres=gpu:4',
        '--ntasks=16',
        '--ntasks-per-node=4',
        '--cpus-per-task=2',
        '--kill-on-bad-exit=1',
        '--qos',
        'x',
        '--mem=1G',
        sys.executable,
        '-u',
        str(TOOLS / script.removeprefix('slurm_').replace('.sh', '.py')),
        'c.py',
        *last,
        '--launcher',
        'slurm',
        '--cfg-options',
        ODD,
    ]


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_usage(tmp_path, script):
    result = _call(script, 'c.py', cwd=tmp_path)
    assert result.returncode == 2
    assert f'{script} ' in result.stderr


def test_two_ranks_train_resume_and_test(tmp_path):
    """Over gloo, from another working directory; killed after the first epoch, the second gives the same weights."""
    classes = ('a b', '[c]')
    config = tmp_path / 'two ranks.py'
    config.write_text(tiny_config(make_tiny_coco(tmp_path / 'data', classes=classes), epochs=2))
    cwd = tmp_path / 'else where'
    cwd.mkdir()
    named = [f'{split}_dataloader.dataset.metainfo.classes=("a b", "[c]")' for split in ('train', 'val', 'test')]
    arguments = ['--work-dir', 'my run', '--cfg-options', *named]
    # A machine with GPUs would take them; this test is about the others.
    hidden = {'CUDA_VISIBLE_DEVICES': '-1'}

    result = _call('dist_train.sh', str(config), '2', *arguments, cwd=cwd, **hidden)
    assert result.returncode == 0, result.stderr[-3000:]
    work_dir = cwd / 'my run'
    whole = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
    assert whole['random_state']['world_size'] == 2
    assert whole['meta']['iter'] == 4  # 8 pictures, 2 ranks of batch 2, 2 epochs
    assert whole['meta']['dataset_meta']['classes'] == classes

    (work_dir / 'epoch_2.pth').write_bytes(b'half')
    result = _call('dist_train.sh', str(config), '2', '--resume', *arguments, cwd=cwd, **hidden)
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'epoch_2.pth is half-written' in result.stdout + result.stderr
    resumed = torch.load(work_dir / 'epoch_2.pth', weights_only=False)
    assert all(torch.equal(value, resumed['state_dict'][key]) for key, value in whole['state_dict'].items())

    checkpoint = str(work_dir / 'epoch_2.pth')
    result = _call('dist_test.sh', str(config), checkpoint, '2', *arguments, cwd=cwd, **hidden)
    assert result.returncode == 0, result.stderr[-3000:]
    assert 'coco/bbox_mAP' in result.stdout + result.stderr
