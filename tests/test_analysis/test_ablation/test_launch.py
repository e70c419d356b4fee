"""Command lines, several runs at a time, and why a run has no result; a shell script stands in for the training."""

import os
import shlex
import sys
import threading
import time

import pytest
import torch

from mmdet_ext.analysis.ablation import launch as ablation_launch
from mmdet_ext.analysis.ablation.launch import LOG, describe_problem, launch_runs, make_command
from mmdet_ext.analysis.ablation.plan import Run
from mmdet_ext.engine.hooks.run_record_hook import RECORD


@pytest.fixture
def runs(tmp_path):
    """Two runs of one arm, without configs."""
    places = [tmp_path / 'out dir' / 'arm' / f'seed_{seed}' for seed in (0, 1)]
    for place in places:
        place.mkdir(parents=True)
    return [Run('arm', seed, place, place.with_suffix('.py'), {}, {}, {}) for seed, place in enumerate(places)]


@pytest.fixture
def script(tmp_path):
    """Write a shell script and give the template that calls it; `$1` is the config, `$2` the work directory."""

    def write(text):
        (tmp_path / 'script.sh').write_text(text)
        return f'sh {shlex.quote(str(tmp_path / "script.sh"))} {{config}} {{work_dir}}'

    return write


DONE = f'echo trained; touch "$2/{RECORD}"\n'


def test_default_command_and_template(runs):
    command = make_command(runs[0])
    assert command[0] == sys.executable
    assert command[1].endswith('/tools/train.py')
    assert command[2:] == [str(runs[0].config)]
    template = "'my tool' {config} {name} -w={work_dir}"
    assert make_command(runs[1], template) == [
        'my tool', str(runs[1].config), 'arm_seed_1', f'-w={runs[1].folder}',
    ]  # fmt: skip


def test_only_what_has_a_checkpoint_is_resumed(runs, monkeypatch):
    monkeypatch.setattr(ablation_launch.Run, 'checkpoint', property(lambda run: run.seed == 1 or None))
    assert [make_command(run, 'x {config}')[-1] == '--resume' for run in runs] == [False, True]


@pytest.mark.parametrize(
    ('template', 'sentence'),
    [('train {conf}', 'a placeholder is none of {config}, {work_dir}, {name}'), ('train', 'has no {config}'),
     ('train {config} {', 'a placeholder is none of'), ("train '{config}", 'a placeholder is none of')],
)  # fmt: skip
def test_a_bad_template_is_named_before_anything_runs(runs, template, sentence):
    with pytest.raises(ValueError, match=sentence):
        launch_runs(runs, template, say=pytest.fail)


def test_a_failed_run_does_not_stop_the_others(runs, script):
    said = []
    fail = f'case "$1" in *_0.py) echo "ValueError: no such thing"; exit 3;; *) {DONE};; esac'
    launch_runs(runs, script(fail), say=said.append)
    assert [run.finished for run in runs] == [False, True]
    assert said[1] == '[1/2] arm/seed_0: FAILED: ValueError: no such thing (exit status 3)'
    assert said[3].startswith('[2/2] arm/seed_1: done in ')
    log = (runs[0].folder / LOG).read_text().splitlines()
    assert log[0].startswith('# ablation: command sh ')
    assert log[1:] == ['ValueError: no such thing', '# ablation: exit status 3']


def test_several_at_a_time_with_threads_and_gpus_of_their_own(runs, monkeypatch):
    barrier, seen = threading.Barrier(2, timeout=10), []

    def call(run, command, environment):
        barrier.wait()
        seen.append(environment)
        return 0

    monkeypatch.setattr(ablation_launch, '_call', call)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(os, 'cpu_count', lambda: 9)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    launch_runs(runs, jobs=2, say=lambda _: None)
    assert sorted(seen, key=lambda e: e['CUDA_VISIBLE_DEVICES']) == [
        {'OMP_NUM_THREADS': '4', 'CUDA_VISIBLE_DEVICES': '0'}, {'OMP_NUM_THREADS': '4', 'CUDA_VISIBLE_DEVICES': '1'},
    ]  # fmt: skip
    seen.clear()
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '6')
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    launch_runs(runs, jobs=2, say=lambda _: None)
    assert seen == [{'CUDA_VISIBLE_DEVICES': '6'}] * 2
    seen.clear()
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    launch_runs(runs, jobs=2, say=lambda _: None)
    launch_runs(runs, 'x {config}', jobs=2, say=lambda _: None)
    assert seen == [{}] * 4


def test_one_at_a_time_is_left_alone(runs, monkeypatch):
    monkeypatch.setattr(ablation_launch, '_call', lambda run, command, environment: len(environment))
    said = []
    launch_runs(runs[:1], say=said.append)
    assert said[1].endswith('FAILED: not started')


def test_the_environment_arrives(runs, script, monkeypatch):
    monkeypatch.setattr(ablation_launch, '_slot_environment', lambda slot, jobs: {'SLOT': f'slot {slot}'})
    template = script(f'echo "$SLOT, $HOME"; {DONE}')
    monkeypatch.setattr(ablation_launch, 'make_command', lambda run, _: make_command(run, template))
    launch_runs(runs[:1], say=lambda _: None)
    assert f'slot 0, {os.environ["HOME"]}' in (runs[0].folder / LOG).read_text()


def test_an_interruption_leaves_out_what_has_not_begun(runs, monkeypatch):
    called = []

    def call(run, command, environment):
        called.append(run.seed)
        if len(called) == 1:
            raise KeyboardInterrupt
        time.sleep(0.1)

    monkeypatch.setattr(ablation_launch, '_call', call)
    many = runs * 20
    with pytest.raises(KeyboardInterrupt):
        launch_runs(many, say=lambda _: None)
    assert len(called) < len(many)


def test_a_program_that_is_not_there(runs):
    said = []
    launch_runs(runs[:1], './nowhere {config}', say=said.append)
    assert 'FAILED: FileNotFoundError: ' in said[1]
    assert said[1].endswith('(exit status 127)')


@pytest.mark.parametrize(
    ('log', 'problem'),
    [
        (None, 'not started'),
        ('# ablation: command x\nEpoch 1\n', 'not finished'),
        ('# ablation: command x\n# ablation: exit status -9\n', 'killed by signal 9'),
        ('# ablation: command x\n# ablation: exit status 2\n', 'exit status 2'),
        ('# ablation: command x\n# ablation: exit status 0\n', 'ended without a record'),
        ('# ablation: command x\nKeyError: 1\n# ablation: command x\n# ablation: exit status -15\n', 'killed by'),
        ('# ablation: command x\nTypeError: a\nWarning: b\nKeyboardInterrupt\n', 'KeyboardInterrupt'),
        (
            '# ablation: command x\n[rank0]: torch.cuda.OutOfMemoryError: all gone\n'
            'torch.distributed.elastic.multiprocessing.errors.ChildFailedError: \n# ablation: exit status 1\n',
            'torch.cuda.OutOfMemoryError: all gone',
        ),
    ],
)  # fmt: skip
def test_problems(tmp_path, log, problem):
    if log is not None:
        (tmp_path / LOG).write_text(log)
    assert describe_problem(tmp_path).startswith(problem)


def test_how_far_a_queued_run_got(tmp_path):
    (tmp_path / 'last_checkpoint').write_text('/there/epoch_3.pth')
    assert describe_problem(tmp_path) == 'not finished, last checkpoint epoch_3.pth'
