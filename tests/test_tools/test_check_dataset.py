"""The command that checks the data of a config."""

import inspect
import runpy
import sys
from pathlib import Path

import pytest

from mmdet_ext.engine.check_report import report_problems
from tests.tiny_coco import data_config, make_tiny_coco, tiny_config

TOOL = str(Path(__file__).parents[2] / 'tools' / 'dataset_tools' / 'check_dataset.py')


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'tiny.py'
    path.write_text(tiny_config(make_tiny_coco(tmp_path / 'data', n=2)))
    return path


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives its exit code."""
    monkeypatch.setenv('COLUMNS', '300')

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [TOOL, *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            runpy.run_path(TOOL, run_name='__main__')
        return done.value.code

    return call


def test_arguments_are_those_of_the_function(monkeypatch):
    monkeypatch.setattr(sys, 'argv', [TOOL, 'c.py', '--num-images', '3', '--cfg-options', "a.b=('x y','z')"])
    arguments = vars(runpy.run_path(TOOL)['parse_args']())
    assert inspect.signature(report_problems).bind(**arguments).arguments == {
        'config': 'c.py',
        'images': 'sample',
        'num_images': 3,
        'cfg_options': {'a.b': ('x y', 'z')},
        'dataset': None,
    }


def test_good_data(run, config, capsys):
    assert run(config, '--images', 'all') == 0
    assert 'no problems found' in capsys.readouterr().out


def test_options(run, config, capsys):
    assert run(config, '--cfg-options', 'train_dataloader.dataset.ann_file=a[b].json') == 1
    assert 'a[b].json' in capsys.readouterr().out


def test_data_of_another_config(run, config, tmp_path, capsys):
    other = tmp_path / 'other.py'
    other.write_text(data_config({'ann': 'absent.json', 'images': '.'}))
    assert run(config, '--dataset', other) == 1
    assert 'absent.json' in capsys.readouterr().out
