"""What is stored beside numbers, so that they can be made again: versions and the commit."""

import hashlib
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import torch

from mmdet_ext.version import __version__

from .host_versions import MODULES, find_hosts


def collect_versions() -> dict[str, str]:
    """Versions of this package, its hosts, torch and Python."""
    hosts = {host.name: number for module in MODULES for host, number in find_hosts(module)}
    # The version is a class of torch's own, which a checkpoint read without unpickling code cannot hold.
    return {'mmdet_ext': __version__, **hosts, 'torch': str(torch.__version__), 'python': platform.python_version()}


def utc_now() -> str:
    """Date and time to the second, `2026-01-31T12:00:00+00:00`."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def hash_file(path: str | Path) -> str:
    """sha256 of a file as 64 hex digits, read in pieces (`hashlib.file_digest` begins with Python 3.11).

    Raises:
        OSError: It is not there or cannot be read.
    """
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def find_commit(folder: str | Path = '.') -> str | None:
    """The git commit that a folder is at, `-dirty` behind it where tracked files differ; None without git."""
    command = ['git', '-C', str(folder), 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*']
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
