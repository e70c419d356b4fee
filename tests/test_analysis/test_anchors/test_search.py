"""From a config to fitted anchors, with all files."""

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmdet_ext.analysis.anchors.heads import AnchorGrid, find_anchor_head
from mmdet_ext.analysis.anchors.search import run_anchor_search
from tests.test_analysis.test_anchors.anchor_case import OCTAVE, SSD, YOLO
from tests.tiny_coco import make_tiny_coco, tiny_config


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    """A config of 40 boxes with 16 to 32 pixels."""
    folder = tmp_path_factory.mktemp('data')
    config = folder / 'tiny.py'
    config.write_text(tiny_config(make_tiny_coco(folder / 'data', n=40)))
    return config


def run(config, out, **options):
    said = []
    return run_anchor_search(config, out=out, say=said.append, **options), said


def test_files_and_figures(tiny, tmp_path):
    result, said = run(tiny, tmp_path / 'out', seed=1)
    assert (result['boxes'], result['images'], result['ignored'], result['no_size']) == (40, 40, 0, 0)
    assert said[0] == '40 boxes of 40 images; left out: 0 to be ignored, 0 without a size'
    old, new, free = (result['coverage'][name] for name in ('config', 'fitted', 'free clusters'))
    # Anchors of 32 and 64 pixels for boxes of 16 to 32.
    assert new.mean_iou > old.mean_iou + 0.15
    # Between the cells of a stride of 16 no shape reaches much more.
    assert new.grid_iou > old.grid_iou + 0.02
    assert list(new.recall) == [0.5, 0.6, 0.7]
    assert free.grid_iou is None
    text = (tmp_path / 'out' / 'anchors.md').read_text()
    assert f'best possible recall at IoU 0.4 {old.possible:.3f} -> {new.possible:.3f}' in text
    assert 'without RandomCrop' in text
    # The written config is the old one with the new anchors.
    read = Config.fromfile(tmp_path / 'out' / 'anchors.py')
    assert find_anchor_head(read).options == result['options']
    assert read.train_dataloader == Config.fromfile(tiny).train_dataloader
    assert (tmp_path / 'out' / 'anchors.csv').read_text().count('\n') == 5
    assert cv2.imread(str(tmp_path / 'out' / 'anchors.png')).std() > 1
    assert said[-1] == f'Config, tables and picture: {tmp_path}/out/anchors.py, .md, .csv, .png'


@pytest.mark.parametrize('options', [OCTAVE, SSD, YOLO], ids=['octave', 'ssd', 'yolo'])
def test_every_generator_goes_there_and_back(tiny, tmp_path, options):
    key = 'model.bbox_head.anchor_generator'
    config = tmp_path / 'c.py'
    config.write_text(f'{tiny.read_text()}\nmodel["bbox_head"]["anchor_generator"] = {options!r}\n')
    result, _ = run(config, tmp_path / 'out', starts=1)
    head = find_anchor_head(Config.fromfile(tmp_path / 'out' / 'anchors.py'), key)
    grid, wanted = AnchorGrid.of(head.options), AnchorGrid.of(result['options'])
    np.testing.assert_array_equal(grid.shapes, wanted.shapes)
    np.testing.assert_array_equal(grid.levels, AnchorGrid.of(options).levels)
    coverage = result['coverage']
    assert coverage['fitted'].mean_iou > coverage['config'].mean_iou


def test_options_arrive(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {'train_dataloader.dataset.pipeline.3.scale': (128, 128), 'model.train_cfg.assigner.pos_iou_thr': 0.6}
    result, said = run(tiny, None, cfg_options=options, num=30, iou_thrs=[0.3], keep_base_sizes=True, centre='median')
    assert (result['boxes'], list(result['coverage']['fitted'].recall)) == (30, [0.3])
    assert 'base_sizes' not in result['options']
    assert 'best possible recall at IoU 0.6' in said[1]
    assert (tmp_path / 'work_dirs/anchors/tiny/anchors.py').is_file()
    plain = run(tiny, tmp_path / 'out')[0]['coverage']['free clusters']
    assert plain.mean_iou != result['coverage']['free clusters'].mean_iou


def test_other_data(tiny, tmp_path):
    other = tmp_path / 'other.py'
    paths = make_tiny_coco(tmp_path / 'data', n=5, size=128, classes=('x', 'y', 'z'))
    other.write_text(tiny_config(paths, classes=('x', 'y', 'z'), size=128))
    assert run(tiny, tmp_path / 'out', dataset=other)[0]['boxes'] == 5


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        ({'iou_thrs': []}, r'thresholds must be above 0 and at most 1, got \[\]'),
        ({'iou_thrs': [0.0]}, r'thresholds must be above 0 and at most 1, got \[0.0\]'),
        ({'starts': 0}, 'starts and iterations must be at least 1, got 0 and 100'),
        ({'distance': 'manhattan'}, "distance must be 'iou' or 'euclid'"),
        ({'head': 'model.rpn_head'}, '--head model.rpn_head: the config has model.bbox_head.anchor_generator'),
    ],
)
def test_faults(tiny, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        run(tiny, tmp_path, **options)
    with pytest.raises(FileNotFoundError, match='There is no config'):
        run(tmp_path / 'none.py', tmp_path)
