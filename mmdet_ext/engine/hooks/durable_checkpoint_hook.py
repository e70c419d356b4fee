"""Checkpoints that neither a kill nor a full disk in the middle of saving can take away."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, get_file_backend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

BACKEND = 'durable'
UNFINISHED = '.part'


class DurableBackend(LocalBackend):
    """Local files that appear whole or not at all, and whose removal waits.

    Attributes:
        outdated: What was to be removed, in this order.
    """

    def __init__(self) -> None:
        self.outdated: list[str] = []

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file beside its place, wait until it is on the disk, and put it there.

        Raises:
            OSError: It could not be written; what stood in its place still does.
        """
        path = Path(filepath)
        unfinished = path.with_name(path.name + UNFINISHED)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError as error:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise OSError(
                f'The checkpoint {path} ({len(obj) / 2**20:.1f} MB) could not be saved: {error.strerror}. What was '
                'saved before is still there: make room, or correct the limit or the access rights, and go on with '
                '--resume.'
            ) from error

    def remove(self, filepath: str | Path) -> None:
        """Note a file to remove."""
        self.outdated.append(str(filepath))

    def rmtree(self, dir_path: str | Path) -> None:
        """Note a folder to remove, as sharded checkpoints are."""
        self.outdated.append(str(dir_path))

    def remove_outdated(self, keep: set[str]) -> None:
        """Remove what was noted, but for these files."""
        for path in self.outdated:
            if path in keep:
                continue
            if os.path.isdir(path):
                super().rmtree(path)
            elif os.path.isfile(path):
                super().remove(path)
        self.outdated.clear()


register_backend(BACKEND, DurableBackend)


@HOOKS.register_module()
class DurableCheckpointHook(CheckpointHook):
    """mmengine's CheckpointHook, with which a saved checkpoint is never lost; `tools/train.py` takes it in its place.

    The parent removes the outdated checkpoint before it writes the next one, and writes that into its final place: a
    kill, a full disk or a crash in between leaves half a file, with `max_keep_ckpts=1` and nothing else. The best
    checkpoint is replaced in the same way. Here the new file is written beside its place and renamed, and the old one
    goes last. So the disk must hold one checkpoint more than `max_keep_ckpts`.

    Options are the parent's. With `backend_args` or `file_client_args` (storage that is not local) it is the parent;
    under `FlexibleRunner`, which writes by itself, outdated files go last but a file may be half-written.
    """

    backend_args: dict[str, Any] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._saving = 0

    def before_train(self, runner: Runner) -> None:
        """Choose how to write, and clear away what a killed run has left half-written."""
        local = self.backend_args is None and self.file_client_args is None
        if local and type(get_file_backend(self.out_dir or runner.work_dir)) is LocalBackend:
            self.backend_args = {'backend': BACKEND}
        super().before_train(runner)
        if isinstance(self.file_backend, DurableBackend) and is_main_process():
            for file in Path(self.out_dir).glob(f'*.pth{UNFINISHED}'):
                file.unlink(missing_ok=True)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextlib.contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Remove what the parent thinks it has removed, once the outermost of its saves has succeeded."""
        self._saving += 1
        try:
            yield
        finally:
            self._saving -= 1
        if not self._saving and isinstance(self.file_backend, DurableBackend):
            best = getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()
            self.file_backend.remove_outdated({str(path) for path in (self.last_ckpt, *best)})
