"""Every check of the report finds what it is there for and names a fix."""

import builtins
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmdet_ext.utils import env_report
from mmdet_ext.utils.env_report import Finding, collect, render

GOOD = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'mmdet': '3.3.0', 'opencv-python-headless': '5.0', 'mmdet_ext': '1.0'}


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Installed distributions, to be changed by a test."""
    found = dict(GOOD)
    monkeypatch.setattr(env_report.hosts, 'installed', found.get)
    return found


@pytest.fixture
def replace(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Any], None]:
    """Replace what the checks import by name: a module, or an error to raise."""
    real = importlib.import_module

    def put(name: str, value: Any) -> None:
        before = env_report.importlib.import_module

        def fake(wanted: str) -> Any:
            if wanted != name:
                return before(wanted)
            if isinstance(value, Exception):
                raise value
            return value

        monkeypatch.setattr(env_report, 'importlib', SimpleNamespace(import_module=fake, util=importlib.util))

    monkeypatch.setattr(env_report, 'importlib', SimpleNamespace(import_module=real, util=importlib.util))
    return put


def by_name() -> dict[str, Finding]:
    return {finding.name: finding for finding in collect()}


def test_this_environment_is_sound() -> None:
    assert [finding for finding in collect() if finding.problem] == []


@pytest.mark.parametrize(('version', 'sound'), [((3, 9), False), ((3, 10), True), ((3, 12), True), ((3, 13), False)])
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int], sound: bool) -> None:
    monkeypatch.setattr(env_report, 'sys', SimpleNamespace(version_info=(*version, 1)))
    finding = env_report.check_python()
    assert bool(finding.problem) is not sound
    assert ('make setup' in finding.fix) is not sound


def test_missing_host(versions: dict[str, str]) -> None:
    del versions['mmcv']
    finding = env_report.check_host('mmcv')
    assert finding.problem == 'no distribution of mmcv'
    assert finding.fix == 'pip install --no-build-isolation --no-deps -r requirements/default.txt'


def test_untested_host(versions: dict[str, str]) -> None:
    versions['mmcv'] = '2.2.0'
    finding = env_report.check_host('mmcv')
    assert finding.problem == 'tested: mmcv>=2.1.0,<2.2'
    assert finding.fix.endswith("'mmcv>=2.1.0,<2.2'")


def test_stacks_over_each_other(versions: dict[str, str]) -> None:
    versions['onedl-mmcv'] = '2.3.6'
    finding = env_report.check_host('mmcv')
    assert 'overwrite' in finding.problem
    assert finding.fix.startswith('pip uninstall -y mmcv onedl-mmcv && pip install')
    mixed = env_report.check_one_stack()
    assert 'mixed' in mixed.problem
    assert mixed.fix.startswith('pip uninstall -y onedl-mmengine onedl-mmcv onedl-mmdetection && ')


def test_no_stack(versions: dict[str, str]) -> None:
    versions.clear()
    assert env_report.check_one_stack().value == 'none'


def test_ops_that_compute_nonsense(versions: dict[str, str], replace: Callable[[str, Any], None]) -> None:
    import torch

    replace('mmcv.ops', SimpleNamespace(nms=lambda boxes, scores, thr: (boxes, torch.tensor([0, 1]))))
    finding = env_report.check_ops()
    assert 'wrong' in finding.problem
    assert '--no-binary mmcv mmcv==2.1.0' in finding.fix


def test_ops_that_do_not_load(replace: Callable[[str, Any], None]) -> None:
    replace('mmcv.ops', ImportError("No module named 'mmcv._ext'\nmore"))
    finding = by_name()['mmcv._ext']
    assert finding.problem == "No module named 'mmcv._ext'"
    assert '--force-reinstall' in finding.fix


def fake_cuda(capability: tuple[int, int], archs: list[str]) -> SimpleNamespace:
    import torch

    cuda = SimpleNamespace(
        is_available=lambda: True,
        get_device_capability=lambda: capability,
        get_device_name=lambda: 'GPU',
        get_arch_list=lambda: archs,
    )
    return SimpleNamespace(
        cuda=cuda, tensor=lambda data, device: torch.tensor(data), ones=lambda n, device: torch.ones(n)
    )


@pytest.mark.parametrize(
    ('capability', 'archs', 'sound'),
    [
        ((9, 0), ['sm_80', 'sm_90'], True),
        ((8, 6), ['sm_80', 'compute_80'], True),
        ((12, 0), ['sm_90a'], False),
        ((7, 0), ['sm_75'], False),
        ((9, 0), ['sm_90a'], True),
    ],
)
def test_cuda_architecture(
    replace: Callable[[str, Any], None], capability: tuple[int, int], archs: list[str], sound: bool
) -> None:
    replace('torch', fake_cuda(capability, archs))
    finding = env_report.check_cuda()
    assert finding.problem == ('' if sound else 'torch has no code for this GPU')


def test_ops_without_cuda(replace: Callable[[str, Any], None]) -> None:
    def nms(*_: object) -> None:
        raise RuntimeError('nms_impl: implementation for device cuda:0 not found.')

    replace('torch', fake_cuda((9, 0), ['sm_90']))
    replace('mmcv.ops', SimpleNamespace(nms=nms))
    finding = env_report.check_cuda()
    assert 'nms_impl' in finding.problem
    assert finding.fix.startswith('FORCE_CUDA=1')


def test_unsafe_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    finding = env_report.check_torch_load()
    assert 'may run code' in finding.problem
    assert finding.fix == 'unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'


def test_setuptools_without_pkg_resources(monkeypatch: pytest.MonkeyPatch) -> None:
    util = SimpleNamespace(find_spec=lambda name: None)
    monkeypatch.setattr(env_report, 'importlib', SimpleNamespace(import_module=importlib.import_module, util=util))
    assert env_report.check_setuptools().fix == "pip install 'setuptools<81'"


def test_opencv_without_libgl(versions: dict[str, str], replace: Callable[[str, Any], None]) -> None:
    versions['opencv-python'] = versions.pop('opencv-python-headless')
    replace('cv2', ImportError('libGL.so.1: cannot open shared object file'))
    finding = env_report.check_opencv()
    assert 'libGL' in finding.problem
    assert finding.fix == 'pip uninstall -y opencv-python && pip install opencv-python-headless'


def test_opencv_missing(versions: dict[str, str], replace: Callable[[str, Any], None]) -> None:
    del versions['opencv-python-headless']
    replace('cv2', ImportError('No module named cv2'))
    assert env_report.check_opencv().fix == 'pip install opencv-python-headless'


def test_opencv_twice(versions: dict[str, str]) -> None:
    versions['opencv-python'] = '5.0'
    assert env_report.check_opencv().problem == 'they overwrite each other'


def test_package_not_installed(versions: dict[str, str]) -> None:
    del versions['mmdet_ext']
    assert env_report.check_package().fix == 'pip install --no-build-isolation --no-deps -e .'


@pytest.mark.parametrize('has_mim', [True, False])
def test_package_without_mim(
    versions: dict[str, str], replace: Callable[[str, Any], None], tmp_path: Path, has_mim: bool
) -> None:
    if has_mim:
        tmp_path.joinpath('.mim').mkdir()
        tmp_path.joinpath('.mim', 'model-index.yml').touch()
    replace('mmdet_ext', SimpleNamespace(__file__=str(tmp_path / '__init__.py')))
    assert ('.mim' in env_report.check_package().problem) is not has_mim


def test_a_check_that_raises_does_not_end_the_report(replace: Callable[[str, Any], None]) -> None:
    replace('torch', ImportError('libtorch.so: no'))
    findings = by_name()
    assert len(findings) == len(env_report.CHECKS)
    assert findings['torch'] == Finding('torch', 'broken', 'libtorch.so: no', 'pip install -r requirements/build.txt')
    assert all(finding.fix for finding in findings.values() if finding.problem)


def test_an_error_without_text_is_named(replace: Callable[[str, Any], None]) -> None:
    replace('torch', RuntimeError())
    assert by_name()['torch'].problem == 'RuntimeError'


def test_render_lists_each_problem_with_its_fix() -> None:
    pips = render([Finding('b', '2', 'broken', 'pip uninstall -y x && pip install y')])
    assert pips.endswith(f'{sys.executable} -m pip uninstall -y x && {sys.executable} -m pip install y')
    text = render([Finding('a', '1'), Finding('b', '2', 'broken', 'mend it')])
    assert text.endswith('b: broken\n  fix: mend it')
    assert 'No problem' not in text


def test_render_without_tabulate(replace: Callable[[str, Any], None]) -> None:
    replace('tabulate', ImportError('no'))
    assert render([Finding('a', '1')]) == 'a  1  ok\n\nNo problem found.'


@pytest.mark.parametrize(('problem', 'code'), [('', 0), ('broken', 1)])
def test_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: str, code: int
) -> None:
    monkeypatch.setattr(env_report, 'collect', lambda: [Finding('a', '1', problem, 'mend it')])
    assert env_report.main() == code
    assert 'a' in capsys.readouterr().out


def test_loads_without_any_other_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report must load where nothing else does."""
    real = builtins.__import__

    def only_standard(name: str, *rest: Any) -> Any:
        if name.split('.')[0] not in sys.stdlib_module_names:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, '__import__', only_standard)
    assert env_report._sibling('env_report').CHECKS


def test_a_missing_sibling_is_named() -> None:
    with pytest.raises(FileNotFoundError, match='no_such_file'):
        env_report._sibling('no_such_file')
