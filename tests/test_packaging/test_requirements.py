"""The files of the house agree with each other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmdet_ext.utils.host_versions import HOSTS, is_tested
from mmdet_ext.version import __version__

ROOT = Path(__file__).parents[2]


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r'^([\w-]+)==(\S+)$', (ROOT / 'requirements' / name).read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize('stack', ['default', 'onedl'])
def test_stack_files_pin_tested_versions(stack: str) -> None:
    hosts = {host.name: host for host in HOSTS if host.stack == stack}
    found = pins(f'{stack}.txt')
    assert set(hosts) <= set(found)
    assert all(is_tested(host, found[name]) for name, host in hosts.items())


def test_extras_name_the_tested_ranges() -> None:
    text = (ROOT / 'setup.py').read_text()
    assert [host.tested for host in HOSTS if f"'{host.tested}'" not in text] == []


def test_torch_is_pinned() -> None:
    assert 'torch' in pins('build.txt')


def test_setup_reads_the_version() -> None:
    assert f"__version__ = '{__version__}'" in (ROOT / 'mmdet_ext' / 'version.py').read_text()


def test_no_family_folder_has_a_hyphen() -> None:
    """`pkg::folder/file` paths are matched by `\\w*::\\w*/\\w*`."""
    assert [path.name for path in (ROOT / 'configs').iterdir() if '-' in path.name] == []


def test_config_names_are_unique() -> None:
    """`mim train` looks a config up by its file name."""
    names = [path.name for path in (ROOT / 'configs').glob('[!_]*/*.py')]
    assert len(names) == len(set(names))


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {
        key: value for key, value in os.environ.items() if key not in ('MAKEFLAGS', 'MAKELEVEL', 'STACK', 'PYTHON')
    }
    return subprocess.run(['make', *arguments], cwd=ROOT, env=environ, capture_output=True, text=True)


def test_make_lists_its_targets_by_default() -> None:
    out = make().stdout
    targets = re.search(r'^\.PHONY: (.*)$', (ROOT / 'Makefile').read_text(), flags=re.MULTILINE)
    assert targets
    assert all(f'make {target} ' in out for target in targets[1].split())


def test_make_refuses_an_unknown_stack() -> None:
    done = make('setup', 'STACK=mmyolo')
    assert done.returncode == 2
    assert 'STACK=mmyolo is unknown: default' in done.stderr


def test_make_refuses_an_unsupported_python(tmp_path: Path) -> None:
    done = make('setup', 'PYTHON=false', f'VENV={tmp_path}/venv')
    assert done.returncode == 2
    assert 'false is not Python 3.10, 3.11 or 3.12' in done.stderr
    assert not (tmp_path / 'venv').exists()


def test_mmcv_is_compiled_with_optimisation(tmp_path: Path) -> None:
    """CFLAGS in the environment replaces Python's own flags, and an operator without -O3 takes many times as long."""
    planned = make('setup', '--dry-run', f'VENV={tmp_path}', f'BIN={Path(sys.executable).parent}').stdout
    flags = re.search(r'^@?(CFLAGS=".*") \\$', planned, flags=re.MULTILINE)
    assert flags
    given = subprocess.run(['bash', '-c', f'{flags[1]}; echo $CFLAGS'], cwd=ROOT, capture_output=True, text=True).stdout
    assert {'-O3', '-g0'} <= set(given.split())


def test_ci_runs_the_tests() -> None:
    script = ROOT / '.ci' / 'run'
    assert script.stat().st_mode & 0o111
    assert 'make test' in script.read_text()
