"""The command line of the phantom benchmark; the trainings are replaced by known numbers."""

import runpy
import shlex
import sys
from pathlib import Path

import pytest

from mmdet_ext.analysis.benchmarks import phantom as bench
from mmdet_ext.datasets.chest_phantom import CLASSES

TOOL = str(Path(__file__).parents[2] / 'tools' / 'analysis_tools' / 'phantom_benchmark.py')
RUN = {
    'arm': 'plain', 'options': {'optim_wrapper.optimizer.lr': 1e-3}, 'seed': 0, 'seconds': 1, 'parameters': 2_500_000,
    'bbox_mAP': 0.25, 'bbox_mAP_50': 0.5, 'context_mAP': 0.125, 'per_class': dict.fromkeys(CLASSES, 0.75),
}  # fmt: skip
RESULT = {'summary': bench.summarize([RUN]), 'images': {'train': 6, 'val': 2}, 'trials': [RUN]}


@pytest.fixture
def run(monkeypatch):
    """Run the tool; gives the arguments that `run_benchmark` got."""
    calls = []

    def stub(*args, **kwargs):
        calls.append((args, kwargs))
        return RESULT

    def call(*arguments):
        monkeypatch.setattr(bench, 'run_benchmark', stub)
        monkeypatch.setattr(sys, 'argv', [TOOL, *arguments])
        runpy.run_path(TOOL, run_name='__main__')
        return calls[-1]

    return call


def test_defaults(run, capsys):
    args, kwargs = run()
    assert args == ('benchmarks/chest_phantom.json', 'work_dirs/phantom_benchmark')
    assert kwargs == {'jobs': 2, 'command': shlex.join(['python', TOOL])}
    out = capsys.readouterr().out
    assert '| AP at IoU 0.50 to 0.95' in out
    assert '2.50 M' in out
    assert '**0.125**' in out
    assert '6 + 2 images' in out


def test_arguments_arrive_and_the_readme_is_written(run, tmp_path):
    readme = tmp_path / 'README.md'
    readme.write_text('before\n<!-- benchmark: begin -->\nold\n<!-- benchmark: end -->\nafter\n')
    arguments = ['--out', 'o.json', '--work-dir', 'w w', '--jobs', '3', '--readme', str(readme)]
    args, kwargs = run(*arguments)
    assert args == ('o.json', 'w w')
    assert kwargs == {'jobs': 3, 'command': shlex.join(['python', TOOL, *arguments])}
    text = readme.read_text()
    assert '**0.125**' in text
    assert 'old' not in text
    assert text.startswith('before\n')
    assert text.endswith('after\n')
