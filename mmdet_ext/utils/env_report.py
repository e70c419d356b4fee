"""Report on the environment: what is installed, what is wrong with it, and the line that fixes it.

Imports the standard library only and every other package inside the check that needs it, because it must run exactly
where torch, mmcv, mmdet or this package cannot be imported. `tools/check_env.py` therefore loads it by file.
"""

import functools
import importlib
import importlib.util
import io
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple


class Finding(NamedTuple):
    """One line of the report; `problem` and `fix` are empty where all is well."""

    name: str
    value: str
    problem: str = ''
    fix: str = ''


def _sibling(name: str) -> ModuleType:
    """Load a file beside this one without importing the package around it."""
    spec = importlib.util.spec_from_file_location(f'_mmdet_ext_{name}', Path(__file__).with_name(f'{name}.py'))
    if spec is None or spec.loader is None:
        raise ImportError(f'{name}.py is missing beside {__file__}: install mmdet_ext again.')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hosts = _sibling('host_versions')

BUILD = 'pip install -r requirements/build.txt'
STACK_FILES = {'default': 'requirements/default.txt', 'onedl': 'requirements/onedl.txt'}


def _install(stack: str, *names: str) -> str:
    what = ' '.join(names) or f'-r {STACK_FILES[stack]}'
    return f'pip install --no-build-isolation --no-deps {what}'


def check_python() -> Finding:
    """Supported: 3.10 to 3.12, for which both hosts build."""
    problem = '' if (3, 10) <= sys.version_info[:2] <= (3, 12) else 'supported are Python 3.10 to 3.12'
    fix = problem and 'rm -rf .venv && make setup PYTHON=python3.11'
    return Finding('Python', platform.python_version(), problem, fix)


def check_torch() -> Finding:
    """torch is there and can be imported."""
    torch = importlib.import_module('torch')
    return Finding('torch', torch.__version__)


def check_numpy() -> Finding:
    """numpy is there and torch was compiled for its ABI."""
    numpy = importlib.import_module('numpy')
    torch = importlib.import_module('torch')
    torch.zeros(1).numpy()
    return Finding('numpy', numpy.__version__)


def check_host(module: str) -> Finding:
    """One distribution of `module`, in the tested range, and importable."""
    found = hosts.find_hosts(module)
    value = ', '.join(f'{host.name} {number}' for host, number in found)
    if len(found) > 1:
        names = ' '.join(host.name for host, _ in found)
        problem = 'two distributions of one module overwrite each other'
        return Finding(module, value, problem, f'pip uninstall -y {names} && {_install("default")}')
    if not found:
        return Finding(module, 'missing', f'no distribution of {module}', _install('default'))
    host, number = found[0]
    if not hosts.is_tested(host, number):
        return Finding(module, value, f'tested: {host.tested}', _install(host.stack, f"'{host.tested}'"))
    importlib.import_module(module)
    return Finding(module, value)


def check_one_stack() -> Finding:
    """All three hosts are of one stack."""
    stacks = sorted({host.stack for module in hosts.MODULES for host, _ in hosts.find_hosts(module)})
    if len(stacks) < 2:
        return Finding('stack', ' '.join(stacks) or 'none')
    others = ' '.join(host.name for host in hosts.HOSTS if host.stack == 'onedl')
    fix = f'pip uninstall -y {others} && {_install("default", "--force-reinstall")} -r {STACK_FILES["default"]}'
    return Finding('stack', ' and '.join(stacks), 'the original hosts and the onedl fork are mixed', fix)


def check_ops() -> Finding:
    """mmcv's compiled operators load and suppress a duplicate box."""
    torch = importlib.import_module('torch')
    ops = importlib.import_module('mmcv.ops')
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    kept = ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.5)[1].tolist()
    if kept != [0]:
        return Finding('mmcv._ext', f'nms kept {kept}', 'mmcv.ops.nms gives wrong results', _rebuild_ops())
    return Finding('mmcv._ext', 'loads, nms runs on the CPU')


def _rebuild_ops() -> str:
    stack = next((host.stack for host, _ in hosts.find_hosts('mmcv')), 'default')
    host = next(host for host in hosts.HOSTS if host.module == 'mmcv' and host.stack == stack)
    flags = f'--force-reinstall --no-cache-dir --no-binary {host.name}'
    return f'{BUILD} && {_install(stack, flags, f"{host.name}=={host.low}")}'


def check_cuda() -> Finding:
    """A GPU, where there is one, is of an architecture that torch was compiled for, and mmcv has CUDA operators."""
    torch = importlib.import_module('torch')
    if not torch.cuda.is_available():
        return Finding('CUDA', 'not available, computing on the CPU')
    major, minor = torch.cuda.get_device_capability()
    value = f'{torch.cuda.get_device_name()}, sm_{major}{minor}; torch for {" ".join(torch.cuda.get_arch_list())}'
    usable = [int(a[3:].rstrip('af')) for a in torch.cuda.get_arch_list() if a.startswith('sm_')]
    # Code for one architecture runs on the later ones of the same major version.
    if not any(number // 10 == major and number % 10 <= minor for number in usable):
        fix = 'pip install torch==2.13.0 from the index of https://pytorch.org/get-started/locally that names this GPU'
        return Finding('CUDA', value, 'torch has no code for this GPU', fix)
    box = torch.tensor([[0.0, 0.0, 4.0, 4.0]], device='cuda')
    try:
        importlib.import_module('mmcv.ops').nms(box, torch.ones(1, device='cuda'), 0.5)
    except RuntimeError as error:
        return Finding(
            'CUDA', value, f'mmcv has no CUDA operators: {_first_line(error)}', f'FORCE_CUDA=1 {_rebuild_ops()}'
        )
    return Finding('CUDA', value)


def check_torch_load() -> Finding:
    """A checkpoint of mmengine, which holds a `HistoryBuffer`, can be read back by a plain `torch.load`."""
    torch = importlib.import_module('torch')
    importlib.import_module('mmdet_ext')
    file = io.BytesIO()
    torch.save({'loss': importlib.import_module('mmengine.logging').HistoryBuffer([0.5], [1])}, file)
    file.seek(0)
    torch.load(file)
    if os.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'):
        fix = 'unset TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'
        return Finding('torch.load', 'weights_only=False, by environment', 'a checkpoint may run code', fix)
    default = hosts.release(torch.__version__) >= (2, 6)
    return Finding('torch.load', f'weights_only={default} by default, HistoryBuffer is read')


def check_setuptools() -> Finding:
    """`pkg_resources` is there, which mmengine 0.10.7 imports."""
    setuptools = importlib.import_module('setuptools')
    if importlib.util.find_spec('pkg_resources') is None:
        return Finding('setuptools', setuptools.__version__, 'lacks pkg_resources', "pip install 'setuptools<81'")
    return Finding('setuptools', f'{setuptools.__version__}, with pkg_resources')


def check_opencv() -> Finding:
    """Exactly one opencv distribution, and it loads (opencv-python needs the system's libGL)."""
    names = ('opencv-python', 'opencv-python-headless', 'opencv-contrib-python', 'opencv-contrib-python-headless')
    there = [name for name in names if hosts.installed(name)]
    value = ', '.join(f'{name} {hosts.installed(name)}' for name in there)
    fix = f'pip uninstall -y {" ".join(there)} && pip install opencv-python-headless'
    try:
        importlib.import_module('cv2')
    except ImportError as error:
        return Finding('opencv', value or 'missing', _first_line(error), fix if there else fix.split(' && ')[1])
    return Finding('opencv', value, *(('they overwrite each other', fix) if len(there) > 1 else ()))


def check_package() -> Finding:
    """`mmdet_ext` is installed, imports, and has the `.mim` folder behind `mmdet_ext::` paths."""
    number = hosts.installed('mmdet_ext')
    package = importlib.import_module('mmdet_ext')
    fix = 'pip install --no-build-isolation --no-deps -e .'
    if number is None:
        return Finding('mmdet_ext', 'not installed', 'found by PYTHONPATH only', fix)
    if not Path(str(package.__file__)).with_name('.mim').joinpath('model-index.yml').is_file():
        return Finding('mmdet_ext', number, 'no .mim folder: `mmdet_ext::` config paths are not found', fix)
    return Finding('mmdet_ext', number)


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


# Name, check, and the fix where the check itself cannot run.
CHECKS: tuple[tuple[str, Callable[[], Finding], str], ...] = (
    ('Python', check_python, ''),
    ('setuptools', check_setuptools, "pip install 'setuptools<81'"),
    ('torch', check_torch, BUILD),
    ('numpy', check_numpy, 'pip install -r requirements/hosts.txt'),
    ('opencv', check_opencv, 'pip install opencv-python-headless'),
    *((module, lambda module=module: check_host(module), 'make setup') for module in hosts.MODULES),
    ('stack', check_one_stack, ''),
    ('mmcv._ext', check_ops, ''),
    ('CUDA', check_cuda, BUILD),
    ('mmdet_ext', check_package, 'pip install --no-build-isolation --no-deps -e .'),
    (
        'torch.load',
        check_torch_load,
        'repair what is above, then update mmdet_ext: its allow-list must cover this torch and mmengine',
    ),
)


def collect() -> list[Finding]:
    """Run every check; one that raises becomes a finding of its own."""
    findings = []
    for name, check, fix in CHECKS:
        try:
            findings.append(check())
        except Exception as error:  # noqa: PERF203 - a broken package raises whatever it likes
            findings.append(Finding(name, 'broken', _first_line(error), fix or _rebuild_ops()))
    return findings


def render(findings: Iterable[Finding]) -> str:
    """The findings as a table, and below it each problem with the line that fixes it."""
    findings = list(findings)
    rows = [(f.name, f.value, 'problem' if f.problem else 'ok') for f in findings]
    try:
        text = importlib.import_module('tabulate').tabulate(rows, headers=('what', 'found', 'state'))
    except ImportError:
        text = '\n'.join('  '.join(row) for row in rows)
    # The pip of the environment that was examined, whichever is first on the PATH.
    own_pip = functools.partial(re.sub, r'\bpip (?=(un)?install)', f'{sys.executable} -m pip ')
    problems = [f'{f.name}: {f.problem}\n  fix: {own_pip(f.fix)}' for f in findings if f.problem]
    return '\n'.join([text, '', *(problems or ['No problem found.'])])


def main() -> int:
    """Print the report; 1 where there is a problem, else 0."""
    findings = collect()
    print(render(findings))
    return int(any(finding.problem for finding in findings))
