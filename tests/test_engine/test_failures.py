"""Failures of the machine in a sentence."""

import errno
import os

import pytest

from mmdet_ext.engine.failures import explained_failures, require_writable


def test_a_folder_that_can_be_written(tmp_path):
    require_writable(tmp_path / 'deep' / 'run')
    assert list((tmp_path / 'deep' / 'run').iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / 'run').touch()
    with pytest.raises(OSError, match=r'Nothing can be written to the work directory .*run \(.+\): .* --work-dir'):
        require_writable(tmp_path / 'run')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_no_room(number):
    sentence = rf'x\.json could not be written: {os.strerror(number)}\. .*make room and go on with --resume'
    with pytest.raises(OSError, match=sentence), explained_failures('w'):
        raise OSError(number, os.strerror(number), 'x.json')
    with pytest.raises(OSError, match='a file could not be written'), explained_failures('w'):
        raise OSError(number, os.strerror(number))


def test_a_dead_worker():
    said = 'DataLoader worker (pid 9) is killed by signal: Killed. Details are lost.\nmore'
    with (
        pytest.raises(RuntimeError, match=r'\(DataLoader worker \(pid 9\) is killed by signal: Killed\)'),
        explained_failures('w'),
    ):
        raise RuntimeError(said)


@pytest.mark.parametrize('error', [RuntimeError('shapes differ'), FileNotFoundError(errno.ENOENT, 'no'), KeyError(1)])
def test_others_pass(error):
    with pytest.raises(type(error)) as caught, explained_failures('w'):
        raise error
    assert caught.value is error
