"""No room to save, and work directories that cannot be written to."""

import contextlib
import os

import pytest

from mmdet_ext.reliability import full_disk as module
from mmdet_ext.reliability.full_disk import file_limit, full_disk, mounted, read_only
from tests.test_reliability.shared import trainings

pytestmark = pytest.mark.xdist_group('reliability')


def test_file_limit():
    result = file_limit(trainings())
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (1, 0, 1, 1)
    assert 'File too large' in result.sentence


@pytest.mark.parametrize(('case', 'said'), [(full_disk, 'No space left'), (read_only, 'Read-only file system')])
def test_mounted_cases(case, said):
    result = case(trainings())
    if result.skipped:
        pytest.skip(result.skipped)
    assert result.faults == []
    assert (result.trials, result.lost, result.resumed, result.explained) == (1, 0, 1, 1)
    assert said in result.sentence


@pytest.mark.parametrize('case', [full_disk, read_only])
def test_without_the_right_to_mount(case, monkeypatch):
    monkeypatch.setattr(module, '_mount', lambda *args: 'must be superuser')
    result = case(trainings())
    assert result.skipped == 'needs the right to mount a tmpfs (must be superuser)'
    assert result.trials == 0


def test_a_mount_ends_with_its_body(tmp_path):
    with contextlib.suppress(KeyError), mounted(tmp_path / 'm', megabytes=1) as problem:
        if problem:
            pytest.skip(problem)
        assert os.path.ismount(tmp_path / 'm')
        raise KeyError
    assert not os.path.ismount(tmp_path / 'm')


def test_no_mount_program(monkeypatch, tmp_path):
    monkeypatch.setenv('PATH', str(tmp_path))
    with mounted(tmp_path / 'm', megabytes=1) as problem:
        assert 'mount' in problem
