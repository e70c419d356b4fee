"""What is to be shown on a GPU, the commands that show it, and the files they write."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

import mmdet_ext

from .json_file import write_json
from .provenance import collect_versions, find_commit, utc_now
from .support_matrix import count_outcomes

FOLDER = 'benchmarks/gpu'
JUNIT = 'junit.xml'
MACHINE = 'machine.json'


class Part(NamedTuple):
    """One command.

    Attributes:
        file: That it writes, in the folder of results.
        what: It shows.
        words: Behind `python`; `{out}` is the file, `{junit}` pytest's report, of which `file` keeps the numbers.
    """

    file: str
    what: str
    words: tuple[str, ...]


PARTS = {
    'tests': Part(
        'tests.json',
        'tests with CUDA tensors, batch norm over ranks, DeepSpeed: how many passed',
        ('-m', 'pytest', '-q', '-m', 'gpu', 'tests', '--junitxml', '{junit}'),
    ),
    'speed': Part(
        'speed.json',
        'losses, assigner, attention of 512 to 2000 boxes, and training steps at 1344 x 800 of batch 1 and 8 in '
        'float32 and bfloat16, plain beside relation: time and memory; losses and attention never wait for the GPU',
        ('tools/analysis_tools/benchmark.py', '--device', 'cuda', '--out', '{out}'),
    ),
    'amp': Part(
        'mixed_precision.json',
        '300 steps of each family in float16 and in bfloat16 without NaN: time of a step and memory',
        ('tools/endurance.py', '--amp', '--out', '{out}'),
    ),
}  # fmt: skip


def gather_gpu_evidence(
    names: Sequence[str] = tuple(PARTS),
    folder: str | Path = FOLDER,
    repository: str | Path = '.',
    say: Callable[[str], None] = print,
) -> dict[str, int]:
    """Run the commands one after the other; one that fails does not keep the next from running.

    Args:
        names: Of `PARTS`.
        folder: For the files, and one of GPU, driver, commit and versions.
        repository: Where the commands run.
        say: Gets a line for each.

    Returns:
        Exit codes by name.

    Raises:
        ValueError: An unknown name.
        RuntimeError: There is no GPU; the message says what would be written. Or the package is not installed.
    """
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(f'no part is called {unknown[0]!r}; there are {", ".join(PARTS)}')
    if not torch.cuda.is_available():
        plan = '\n'.join(f'  {folder}/{PARTS[name].file}: {PARTS[name].what}' for name in names)
        raise RuntimeError(f'torch {torch.__version__} sees no GPU here. On a machine with one this writes\n{plan}')
    if not Path(mmdet_ext.__file__).with_name('.mim').exists():
        raise RuntimeError('mmdet_ext is not installed here: python -m pip install --no-deps --no-build-isolation -e .')
    folder = Path(folder).absolute()
    write_json(folder / MACHINE, _describe_machine(repository), indent=2)
    codes = {}
    for name in names:
        part, junit = PARTS[name], folder / JUNIT
        words = [word.format(out=folder / part.file, junit=junit) for word in part.words]
        say(f'{name}: python {" ".join(words)}')
        codes[name] = subprocess.run([sys.executable, *words], cwd=repository).returncode
        if junit.is_file():
            write_json(folder / part.file, {**count_outcomes(junit), 'failures': _failed_tests(junit)}, indent=2)
            junit.unlink()
    return codes


def _failed_tests(junit: Path) -> list[str]:
    cases = ElementTree.parse(junit).iter('testcase')
    return [
        f'{case.get("classname")}::{case.get("name")}'
        for case in cases
        if case.find('failure') is not None or case.find('error') is not None
    ]


def _describe_machine(repository: str | Path) -> dict[str, Any]:
    query = ['nvidia-smi', '--query-gpu=driver_version', '--format=csv,noheader', '--id=0']
    return {
        'gpu': torch.cuda.get_device_name(),
        'cuda': torch.version.cuda,
        'driver': subprocess.run(query, capture_output=True, text=True).stdout.strip(),
        'date': utc_now(),
        'commit': find_commit(repository),
        'versions': collect_versions(),
    }
