"""Versions and commit that are stored beside numbers."""

import hashlib
import subprocess

from mmdet_ext.utils.provenance import collect_versions, find_commit, hash_file
from mmdet_ext.version import __version__


def git(folder, *arguments):
    identity = ['-c', 'user.name=a', '-c', 'user.email=a@b']
    command = ['git', '-C', str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_hash_of_a_file_larger_than_a_piece(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / 'file').write_bytes(content)
    assert hash_file(tmp_path / 'file') == hashlib.sha256(content).hexdigest()


def test_versions_name_package_hosts_and_torch():
    versions = collect_versions()
    assert versions['mmdet_ext'] == __version__
    assert {'torch', 'python'} < set(versions)
    assert sum(name.endswith(('mmengine', 'mmcv', 'mmdet', 'mmdetection')) for name in versions) == 3


def test_commit_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    assert find_commit(tmp_path) is None
    git(tmp_path, 'init')
    (tmp_path / 'a').write_text('1')
    git(tmp_path, 'add', 'a')
    git(tmp_path, 'commit', '-m', 'first')
    git(tmp_path, 'tag', '-a', 'v1', '-m', 'a tag must not stand for the hash')
    head = git(tmp_path, 'rev-parse', 'HEAD')
    assert find_commit(tmp_path) == head
    (tmp_path / 'a').write_text('2')
    assert find_commit(tmp_path) == f'{head}-dirty'
    monkeypatch.setenv('PATH', str(tmp_path))
    assert find_commit(tmp_path) is None
