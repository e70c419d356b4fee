"""Shared fixtures: the same random numbers for every test, one thread, and the devices at hand."""

import copy
import functools
import os
import random
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
# albumentations asks PyPI for a newer version whenever it is imported, and mmdet imports it.
os.environ.setdefault('NO_ALBUMENTATIONS_UPDATE', '1')

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (mmdet draws from the global generator)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='session')
def configs_are_written_plainly():
    """A Runner has yapf format its whole config several times, which takes longer than a tiny training."""
    from mmengine.config import config

    with pytest.MonkeyPatch.context() as patch:
        # The fork imports it where it is needed.
        owner = config if hasattr(config, 'FormatCode') else __import__('yapf.yapflib.yapf_api').yapflib.yapf_api
        patch.setattr(owner, 'FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(params=['cpu', *([pytest.param('cuda', marks=pytest.mark.gpu)] if torch.cuda.is_available() else [])])
def device(request):
    """The test runs on the CPU, and once more on the GPU where there is one."""
    return torch.device(request.param)


@pytest.fixture(scope='module')
def read_bases_once():
    """Most configs are short diffs of each other: a file is parsed once in a module, however many build on it."""
    from mmengine.config import Config

    read = functools.cache(Config._file2dict)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Config, '_file2dict', staticmethod(lambda *args, **kwargs: copy.deepcopy(read(*args, **kwargs))))
        yield


@pytest.fixture(scope='session')
def real_data():
    """Finds the folder of a real data set: by the variable its configs read, in `data/`, or beside the repository."""

    def find(name: str) -> Path:
        root = Path(__file__).parents[1]
        by_variable = os.environ.get(f'MMDET_EXT_{name.upper()}')
        places = [Path(by_variable)] if by_variable else [root / 'data' / name, root.parent / 'shared' / 'data' / name]
        folder = next((place for place in places if place.is_dir()), None)
        return folder or pytest.skip(f'{name} is in none of {", ".join(map(str, places))}')

    return find


def pytest_collection_modifyitems(items):
    """Skip tests marked `gpu` on machines without one."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker('gpu'):
                item.add_marker(pytest.mark.skip(reason='no CUDA device'))
