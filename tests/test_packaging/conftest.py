"""Builds of the package, and environments they are installed into.

The environments see the libraries of the running one through a .pth file (torch and mmcv are not built again), but not
its editable install of the package: .pth files of a folder that itself was added by a .pth file are not read.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml

CONFIG = 'configs/relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'
ROOT = Path(__file__).parents[2]
SHIPPED = ('configs', 'mmdet_ext', 'requirements', 'tests', 'tools')
FILES = (
    'LICENSE',
    'MANIFEST.in',
    'Makefile',
    'README.md',
    'model-index.yml',
    'pyproject.toml',
    'requirements.txt',
    'setup.py',
)


def run(*command: str | Path, cwd: Path | None = None, **env: str) -> str:
    """Run a command and return what it printed; an error shows both of its streams."""
    environ = {**os.environ, 'OMP_NUM_THREADS': '1', **env}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f'{command} failed\n{done.stdout}\n{done.stderr}'
    return done.stdout


def copy_source(folder: Path, weights: Path) -> Path:
    """A copy of the repository's sources where a metafile offers `weights` under the name `probe`."""
    ignore = shutil.ignore_patterns('__pycache__', '.mim', '*.egg-info')
    for name in SHIPPED:
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in FILES:
        shutil.copy2(ROOT / name, folder / name)
    family = folder / 'configs' / 'packaging_probe'
    family.mkdir()
    model = {
        'Name': 'packaging-probe',
        'Alias': ['probe'],
        'In Collection': 'Probe',
        'Config': CONFIG,
        'Weights': str(weights),
    }
    family.joinpath('metafile.yml').write_text(yaml.safe_dump({'Collections': [{'Name': 'Probe'}], 'Models': [model]}))
    index = yaml.safe_load(folder.joinpath('model-index.yml').read_text())
    index['Import'].append('configs/packaging_probe/metafile.yml')
    folder.joinpath('model-index.yml').write_text(yaml.safe_dump(index))
    return folder


def pip(python: Path | str, *arguments: str | Path, cwd: Path | None = None) -> str:
    """This environment's pip at work for `python`, without the network."""
    command = (sys.executable, '-m', 'pip', '--python', python, '--disable-pip-version-check', *arguments)
    return run(*command, cwd=cwd, PIP_NO_INDEX='1')


def make_environment(folder: Path) -> Path:
    """A virtual environment that borrows the libraries of this one; returns its interpreter."""
    venv.create(folder, symlinks=True, with_pip=False)
    purelib = sysconfig.get_path('purelib', vars={'base': str(folder), 'platbase': str(folder)})
    Path(purelib, 'borrowed.pth').write_text(sysconfig.get_path('purelib') + '\n')
    return folder / 'bin' / 'python'


def use(python: Path, folder: Path, weights: Path, **env: str) -> dict[str, str]:
    """Facts that `use_package.py` finds in an environment, from a working directory without the sources."""
    folder.mkdir()
    script = shutil.copy2(Path(__file__).with_name('use_package.py'), folder)
    return json.loads(run(python, '-W', 'ignore', script, weights, cwd=folder, **env).splitlines()[-1])


@pytest.fixture(scope='session')
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp('packaging')


@pytest.fixture(scope='session')
def wheel(workspace: Path) -> Path:
    """Wheel built from a tree with the leftovers of older builds in it."""
    source = copy_source(workspace / 'wheel_source', workspace / 'wheel.pth')
    for stale in ('build/lib/mmdet_ext/stale.py', 'mmdet_ext/.mim/configs/stale.py', 'configs/__pycache__/stale.pyc'):
        source.joinpath(stale).parent.mkdir(parents=True, exist_ok=True)
        source.joinpath(stale).write_text('raise RuntimeError("stale")')
    out = workspace / 'wheel'
    pip(sys.executable, 'wheel', '--no-deps', '--no-build-isolation', '-w', out, source)
    return next(out.glob('*.whl'))


@pytest.fixture(scope='session')
def sdist(workspace: Path) -> Path:
    source = copy_source(workspace / 'sdist_source', workspace / 'wheel.pth')
    code = 'import sys; from setuptools.build_meta import build_sdist; build_sdist(sys.argv[1])'
    out = workspace / 'sdist'
    out.mkdir()
    run(sys.executable, '-c', code, out, cwd=source)
    return next(out.glob('*.tar.gz'))


@pytest.fixture(scope='session')
def wheel_facts(workspace: Path, wheel: Path) -> dict[str, str]:
    python = make_environment(workspace / 'wheel_env')
    pip(python, 'install', '--no-deps', wheel)
    return use(python, workspace / 'wheel_use', workspace / 'wheel.pth')


@pytest.fixture(scope='session')
def editable_facts(workspace: Path) -> dict[str, str]:
    weights = workspace / 'editable.pth'
    source = copy_source(workspace / 'editable_source', weights)
    python = make_environment(workspace / 'editable_env')
    pip(python, 'install', '--no-deps', '--no-build-isolation', '-e', source)
    return use(python, workspace / 'editable_use', weights)


@pytest.fixture(scope='session')
def checkout_facts(workspace: Path) -> dict[str, str]:
    """Sources on PYTHONPATH, nothing installed."""
    weights = workspace / 'checkout.pth'
    source = copy_source(workspace / 'checkout_source', weights)
    python = make_environment(workspace / 'checkout_env')
    return use(python, workspace / 'checkout_use', weights, PYTHONPATH=str(source))
