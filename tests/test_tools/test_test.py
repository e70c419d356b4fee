"""Command line of tools/test.py."""

import inspect
import runpy
from pathlib import Path

from mmdet_ext.engine.launch import test as run_test

TOOL = Path(__file__).parents[2] / 'tools' / 'test.py'


def _parse(monkeypatch, *args: str) -> dict:
    monkeypatch.setattr('sys.argv', [str(TOOL), *args])
    return vars(runpy.run_path(str(TOOL))['parse_args']())


def test_defaults(monkeypatch):
    args = _parse(monkeypatch, 'config.py', 'x.pth')
    inspect.signature(run_test).bind(**args)
    assert args == {
        'config': 'config.py',
        'checkpoint': 'x.pth',
        'work_dir': None,
        'out': None,
        'show': False,
        'show_dir': None,
        'wait_time': 2,
        'tta': False,
        'dataset': None,
        'cfg_options': None,
        'launcher': 'none',
    }


def test_flags(monkeypatch):
    flags = [
        '--work-dir',
        'w',
        '--out',
        'o.pkl',
        '--show',
        '--show-dir',
        's',
        '--wait-time',
        '0.5',
        '--tta',
        '--dataset',
        'd.py',
        '--launcher',
        'slurm',
    ]
    args = _parse(monkeypatch, 'config.py', 'x.pth', *flags, '--cfg-options', 'a=1')
    assert args == {
        'config': 'config.py',
        'checkpoint': 'x.pth',
        'work_dir': 'w',
        'out': 'o.pkl',
        'show': True,
        'show_dir': 's',
        'wait_time': 0.5,
        'tta': True,
        'dataset': 'd.py',
        'cfg_options': {'a': 1},
        'launcher': 'slurm',
    }
