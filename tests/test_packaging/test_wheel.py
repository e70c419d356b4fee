"""What is in the wheel and in the source distribution, and what is not."""

import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from .conftest import ROOT, pip

pytestmark = [pytest.mark.packaging, pytest.mark.xdist_group('packaging')]


def content(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def sources(*names: str) -> set[str]:
    files = (path for name in names for path in (ROOT / name).rglob('*') if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if not {'__pycache__', '.mim'} & set(path.parts)}


def metadata(wheel: Path, name: str) -> str:
    file = next(member for member in content(wheel) if member.endswith(f'.dist-info/{name}'))
    return zipfile.ZipFile(wheel).read(file).decode()


def test_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    assert sources('mmdet_ext') <= content(wheel)
    assert 'mmdet_ext/py.typed' in content(wheel)


def test_wheel_has_configs_tools_and_index_below_mim(wheel: Path) -> None:
    expected = {f'mmdet_ext/.mim/{name}' for name in sources('configs', 'tools')}
    assert expected | {'mmdet_ext/.mim/model-index.yml'} <= content(wheel)
    assert 'mmdet_ext/.mim/configs/packaging_probe/metafile.yml' in content(wheel)


def test_wheel_installs_one_top_level_name(wheel: Path) -> None:
    assert {name.split('/')[0] for name in content(wheel)} == {'mmdet_ext', f'{wheel.name.split("-py3")[0]}.dist-info'}
    assert metadata(wheel, 'top_level.txt').splitlines() == ['mmdet_ext']


def test_wheel_has_no_leftovers(wheel: Path) -> None:
    assert not [name for name in content(wheel) if 'stale' in name or '__pycache__' in name]


def test_hosts_and_torch_are_extras_only(wheel: Path) -> None:
    message = Parser().parsestr(metadata(wheel, 'METADATA'))
    required = [line for line in message.get_all('Requires-Dist') if 'extra ==' not in line]
    assert required
    assert not [line for line in required if line.startswith(('mm', 'onedl', 'torch', 'opencv'))]
    assert {'mim', 'onedl', 'tests', 'all'} <= set(message.get_all('Provides-Extra'))
    assert [line for line in message.get_all('Requires-Dist') if line.startswith('mmdet') and 'mim' in line]
    assert message['License-Expression'] == 'Apache-2.0' or message['License'] == 'Apache-2.0'
    assert message['Requires-Python'] == '>=3.10'


def test_sdist_builds_the_same_wheel(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    pip(sys.executable, 'wheel', '--no-deps', '--no-build-isolation', '-w', tmp_path, sdist)
    assert content(next(tmp_path.glob('*.whl'))) == content(wheel)


def test_sdist_has_what_a_developer_needs(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    assert {'Makefile', 'LICENSE', 'requirements/build.txt', 'tests/test_registry.py', 'tools/check_env.py'} <= names
    assert not [name for name in names if '.mim' in name]
