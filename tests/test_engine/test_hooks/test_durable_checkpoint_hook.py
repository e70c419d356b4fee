"""Saving beside the place, removing last; trainings that are really killed are in tests/test_reliability."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmdet.registry import HOOKS
from mmengine.config import Config, ConfigDict
from mmengine.fileio import LocalBackend, get_file_backend
from mmengine.hooks import CheckpointHook

from mmdet_ext.engine import launch
from mmdet_ext.engine.hooks.durable_checkpoint_hook import BACKEND, DurableBackend, DurableCheckpointHook
from tests.tiny_coco import tiny_run


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    backend, path = DurableBackend(), tmp_path / 'deep' / 'a.pth'
    backend.put(b'old', path)
    assert path.read_bytes() == b'old'
    seen = []
    monkeypatch.setattr(os, 'fsync', lambda number: seen.append((path.read_bytes(), sorted(os.listdir(path.parent)))))
    backend.put(b'new', str(path))
    assert seen == [(b'old', ['a.pth', 'a.pth.part'])]
    assert path.read_bytes() == b'new'
    assert os.listdir(path.parent) == ['a.pth']


def test_a_failure_leaves_the_old_file_and_says_so(tmp_path, monkeypatch):
    backend, path = DurableBackend(), tmp_path / 'a.pth'
    backend.put(b'old', path)

    def full(number):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    sentence = r'a\.pth \(1\.0 MB\) could not be saved: No space left on device\. .*go on with --resume'
    with pytest.raises(OSError, match=sentence):
        backend.put(bytes(2**20), path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.pth']


def test_removal_waits(tmp_path):
    backend = get_file_backend(backend_args={'backend': BACKEND})
    file, folder, kept = tmp_path / 'a', tmp_path / 'b', tmp_path / 'c'
    for path in (file, kept):
        path.touch()
    folder.mkdir()
    backend.remove(file)
    backend.rmtree(folder)
    backend.remove(str(kept))
    backend.remove(tmp_path / 'gone')
    assert len(os.listdir(tmp_path)) == 3
    backend.remove_outdated(keep={str(kept)})
    assert os.listdir(tmp_path) == ['c']
    backend.remove_outdated(keep=set())
    assert os.listdir(tmp_path) == ['c']


def test_old_checkpoints_go_after_the_new_one_is_there(tmp_path, monkeypatch):
    """At every write the newest saved checkpoint is there; in the end files are those of the parent."""
    run, seen = tiny_run(), []
    put = DurableBackend.put

    def watch(self, obj, filepath):
        seen.append((Path(filepath).name, sorted(path.name for path in (tmp_path / 'run').glob('*.pth'))))
        put(self, obj, filepath)

    monkeypatch.setattr(DurableBackend, 'put', watch)
    options = {'default_hooks.checkpoint.max_keep_ckpts': 1, 'default_hooks.checkpoint.save_best': 'coco/bbox_mAP'}
    losses, _ = run.train(work_dir=tmp_path / 'run', cfg_options=options)
    assert losses == run.losses
    epochs = [name for name, _ in seen if name.startswith('epoch')]
    assert set(epochs) == {'epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth'}
    for name, there in seen:
        number = int(name.split('epoch_')[1].split('.')[0])
        assert number == 1 or f'epoch_{number - 1}.pth' in there or f'epoch_{number}.pth' in there
    left = sorted(path.name for path in (tmp_path / 'run').glob('*.pth*'))
    assert left[-1] == 'epoch_3.pth'
    assert len(left) == 2
    assert left[0].startswith('best_coco_bbox_mAP_epoch_')
    assert (tmp_path / 'run' / 'last_checkpoint').read_text().endswith('epoch_3.pth')


def _runner(work_dir: Path) -> SimpleNamespace:
    hub = SimpleNamespace(runtime_info={})
    return SimpleNamespace(work_dir=str(work_dir), logger=SimpleNamespace(info=lambda text: None), message_hub=hub)


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path):
    (tmp_path / 'epoch_2.pth.part').touch()
    (tmp_path / 'epoch_1.pth').touch()
    DurableCheckpointHook().before_train(_runner(tmp_path))
    assert os.listdir(tmp_path) == ['epoch_1.pth']


def test_a_storage_of_ones_own_is_left_alone(tmp_path):
    hook = DurableCheckpointHook(backend_args={'backend': 'local'})
    hook.before_train(_runner(tmp_path))
    assert type(hook.file_backend) is LocalBackend
    assert hook.backend_args == {'backend': 'local'}


def test_a_failed_save_removes_nothing(tmp_path, monkeypatch):
    hook = DurableCheckpointHook()
    hook.before_train(_runner(tmp_path))
    (tmp_path / 'epoch_1.pth').touch()

    def fail(self, runner, step, meta):
        self.file_backend.remove(tmp_path / 'epoch_1.pth')
        raise OSError('full')

    monkeypatch.setattr(CheckpointHook, '_save_checkpoint_with_step', fail)
    with pytest.raises(OSError, match='full'):
        hook._save_checkpoint_with_step(_runner(tmp_path), 2, {})
    assert (tmp_path / 'epoch_1.pth').exists()


@pytest.mark.parametrize(
    ('before', 'after'),
    [
        ({'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': 2}}}, 'DurableCheckpointHook'),
        ({'default_hooks': {'timer': {'type': 'IterTimerHook'}}}, 'DurableCheckpointHook'),
        ({}, 'DurableCheckpointHook'),
        ({'default_hooks': {'checkpoint': {'type': 'MyHook'}}}, 'MyHook'),
        ({'default_hooks': {'checkpoint': None}}, None),
    ],
)
def test_tools_take_it_in_the_place_of_mmengines(before, after):
    cfg = Config(before)
    launch._set_durable_checkpoints(cfg)
    hook = cfg.default_hooks.checkpoint
    assert (hook.type if isinstance(hook, ConfigDict) else hook) == after
    assert not isinstance(hook, ConfigDict) or hook.get('interval', 2) == 2


def test_registered():
    assert HOOKS.get('DurableCheckpointHook') is DurableCheckpointHook
