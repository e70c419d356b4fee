"""`tools/check_env.py` runs in a sound environment and in one without any package."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools' / 'check_env.py'


def check(tool: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *flags, str(tool)], capture_output=True, text=True)


def test_sound_environment() -> None:
    done = check(TOOL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'mmcv._ext' in done.stdout
    assert done.stdout.endswith('No problem found.\n')


@pytest.fixture
def wheel_layout(tmp_path: Path) -> Path:
    """The tool where a wheel puts it, beside the package's own files."""
    package = tmp_path / 'mmdet_ext'
    for source, target in (('tools', '.mim/tools'), ('mmdet_ext/utils', 'utils')):
        package.joinpath(target).mkdir(parents=True)
        for file in (ROOT / source).glob('*.py'):
            package.joinpath(target, file.name).write_bytes(file.read_bytes())
    return package / '.mim' / 'tools' / 'check_env.py'


@pytest.mark.parametrize('place', ['checkout', 'wheel'])
def test_environment_without_packages(place: str, wheel_layout: Path) -> None:
    """-I -S: neither site-packages nor the environment's variables."""
    done = check(TOOL if place == 'checkout' else wheel_layout, '-I', '-S')
    assert done.returncode == 1, done.stderr
    fix = f'{sys.executable} -m pip install -r requirements/build.txt'
    assert f"torch: No module named 'torch'\n  fix: {fix}" in done.stdout
    assert 'mmdet: no distribution of mmdet' in done.stdout
