"""Analysis tools of mmdet's wheel, unchanged, on our configs."""

import json
import pickle
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import mmdet
import numpy as np
import pytest
from mmdet.datasets.utils import get_loading_pipeline
from mmdet.registry import DATASETS, MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from .conftest import KINDS, Trained

pytestmark = pytest.mark.xdist_group('ecosystem')
TOOLS = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'analysis_tools'
# The fork's analyze_logs kept seaborn's name of a style as its default and hands it to matplotlib, which has none.
FORK_STYLE = 'seaborn' not in (TOOLS / 'analyze_logs.py').read_text()
Tool = Callable[..., dict[str, Any]]


@pytest.fixture
def stock_tool(monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Runs one as `python TOOL.py ARGUMENTS` does; gives its names."""

    def call(name: str, *arguments: str | Path) -> dict[str, Any]:
        tool = str(TOOLS / f'{name}.py')
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        return runpy.run_path(tool, run_name='__main__')

    return call


@pytest.fixture(params=KINDS)
def one(request: pytest.FixtureRequest, trained: dict[str, Trained]) -> Trained:
    return trained[request.param]


def test_get_flops(stock_tool: Tool, one: Trained, capsys: pytest.CaptureFixture) -> None:
    stock_tool('get_flops', one.config, '--num-images', '1')
    printed = capsys.readouterr().out
    assert 'Input shape: (64, 64)' in printed
    flops, params = (re.search(rf'^{name}: ([\d.]+)(K|M)$', printed, re.MULTILINE) for name in ('Flops', 'Params'))
    assert flops
    assert params
    model = MODELS.build(Config.fromfile(one.config).model)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert float(params[1]) * {'K': 1e3, 'M': 1e6}[params[2]] == pytest.approx(count, rel=0.01)
    assert float(flops[1]) > 1


def test_browse_dataset(stock_tool: Tool, one: Trained, tmp_path: Path) -> None:
    stock_tool('browse_dataset', one.config, '--output-dir', tmp_path, '--not-show')
    names = {path.name for path in one.images.iterdir()}
    assert {path.name for path in tmp_path.iterdir()} == names
    # Pictures have three dim channels, and a box in one of them: yellow and white are drawn.
    pictures = [cv2.imread(str(tmp_path / name)) for name in names]
    assert any((picture.min(axis=2) > 120).sum() > 10 for picture in pictures)


def test_confusion_matrix(stock_tool: Tool, one: Trained, tmp_path: Path) -> None:
    names = stock_tool('confusion_matrix', one.config, one.predictions, tmp_path, '--score-thr', '0')
    assert cv2.imread(str(tmp_path / 'confusion_matrix.png')) is not None
    init_default_scope('mmdet')
    dataset = DATASETS.build(Config.fromfile(one.config).test_dataloader.dataset)
    results = pickle.loads(one.predictions.read_bytes())
    assert [len(result['pred_instances']['labels']) > 0 for result in results] == [True] * 4
    matrix = names['calculate_confusion_matrix'](dataset, results)
    assert matrix.shape == (3, 3)
    # Rows are classes: every object is found or missed.
    assert matrix[:2].sum() >= 4
    assert matrix.sum() >= sum(len(result['pred_instances']['labels']) for result in results)


def test_analyze_results(stock_tool: Tool, one: Trained, tmp_path: Path) -> None:
    stock_tool('analyze_results', one.config, one.predictions, tmp_path, '--topk', '2')
    found = {kind: sorted((tmp_path / kind).iterdir()) for kind in ('good', 'bad')}
    assert [len(paths) for paths in found.values()] == [2, 2]
    scores = [[float(path.stem.split('_')[1]) for path in paths] for paths in found.values()]
    assert min(scores[0]) >= max(scores[1])


def test_analyze_results_wants_mmdets_own_loader() -> None:
    """A limit of the tool: it knows mmdet's LoadAnnotations by its class, and landmarks are loaded by a subclass."""
    init_default_scope('mmdet')
    pipeline = Config.fromfile(Path(KINDS['relation']).parents[1] / '_base_/datasets/face_phantom.py').train_pipeline
    with pytest.raises(AssertionError, match='must include loading image and annotations'):
        get_loading_pipeline(pipeline)


def test_analyze_logs(stock_tool: Tool, one: Trained, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    curve, style = tmp_path / 'loss.png', ('--style', 'default') if FORK_STYLE else ()
    stock_tool('analyze_logs', 'plot_curve', one.log, '--keys', 'loss', 'loss_cls', '--out', curve, *style)
    assert cv2.imread(str(curve)).std() > 0
    capsys.readouterr()
    stock_tool('analyze_logs', 'cal_train_time', one.log, '--include-outliers')
    line = re.search(r'average iter time: ([\d.]+) s/iter', capsys.readouterr().out)
    assert line
    times = [row['time'] for row in map(json.loads, one.log.read_text().splitlines()) if 'loss' in row]
    assert float(line[1]) == pytest.approx(np.mean(times), abs=1e-3)


@pytest.mark.skipif(not FORK_STYLE, reason='mmdet 3.3.0 draws with seaborn, which has the style')
@pytest.mark.xfail(strict=True, raises=OSError, reason="'dark' is not a valid package style: pass --style default")
def test_analyze_logs_of_the_fork_without_style(stock_tool: Tool, trained: dict[str, Trained], tmp_path: Path) -> None:
    stock_tool('analyze_logs', 'plot_curve', trained['relation'].log, '--keys', 'loss', '--out', tmp_path / 'loss.png')
