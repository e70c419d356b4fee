"""Data sets of tiles and of shrunk pictures: the commands in their docstrings make what their configs read."""

import ast
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.engine.config_check import check_config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'configs/_base_/datasets'
# The data set that is cut or shrunk, the folder that is written, and the variables that name other folders.
SOURCES = {
    'hdbpmn_nodes_tiles': ('hdbpmn', 'data/hdbpmn_tiles/', 'MMDET_EXT_HDBPMN_TILES'),
    'hdbpmn_nodes_256': ('hdbpmn', 'data/hdbpmn_256/', 'MMDET_EXT_HDBPMN_256'),
    'deeppcb_tiles': ('deeppcb', 'data/deeppcb_tiles/', 'MMDET_EXT_DEEPPCB_TILES'),
}
EDGES = {'association', 'dataAssociation', 'messageFlow', 'sequenceFlow'}


def commands(path):
    """Commands that a docstring gives, as lists of words."""
    text = re.sub(r'\\\n\s*', ' ', ast.get_docstring(ast.parse(path.read_text())))
    return [shlex.split(line) for line in text.splitlines() if line.strip().startswith('python ')]


def write_source(root, classes):
    """Two pictures of 640 x 600 pixels a split with two objects of every class each, one empty quarter."""
    (root / 'annotations').mkdir(parents=True)
    categories = [{'id': number, 'name': name} for number, name in enumerate(classes, start=1)]
    for split in ('train', 'val'):
        images, annotations = [], []
        for image in (1, 2):
            name = f'{split}{image}.jpg'
            cv2.imwrite(str(root / name), np.full((600, 640, 3), 200, np.uint8))
            images.append({'id': image, 'file_name': name, 'width': 640, 'height': 600})
            for place in range(2 * len(classes)):
                box = [10 + 50 * (place % 4), 10 + 60 * (place // 4), 40, 30]
                label = 1 + place % len(classes)
                number = len(annotations) + 1
                annotations.append(
                    dict(id=number, image_id=image, category_id=label, bbox=box, area=1200, iscrowd=0, segmentation=[])
                )
        data = {'images': images, 'annotations': annotations, 'categories': categories}
        (root / 'annotations' / f'{split}.json').write_text(json.dumps(data))


def test_every_data_set_that_is_made_is_here():
    assert {path.stem for path in FOLDER.glob('*.py') if 'slice_coco.py' in path.read_text()} == set(SOURCES)


@pytest.mark.parametrize('name', SOURCES)
def test_the_commands_make_what_the_config_reads(name, monkeypatch, tmp_path):
    source, folder, variable = SOURCES[name]
    classes = Config.fromfile(FOLDER / f'{source}.py').metainfo.classes
    monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    write_source(Path('data', source), classes)
    for _, tool, *arguments in commands(FOLDER / f'{name}.py'):
        monkeypatch.setattr(sys, 'argv', [tool, *arguments])
        runpy.run_path(str(ROOT / tool), run_name='__main__')

    init_default_scope('mmdet')
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    assert cfg.data_root == folder
    assert cfg.metainfo.classes == tuple(label for label in classes if label not in EDGES)
    assert [problem for problem in check_config(cfg) if problem.severity == 'error'] == []
    written = {
        split: json.loads(Path(cfg.data_root, f'annotations/{split}.json').read_text()) for split in ('train', 'val')
    }
    # Every tile is kept for evaluation, so that false detections on empty ones count.
    assert {split: data['info']['options']['keep_empty'] for split, data in written.items()} == {
        'train': False,
        'val': True,
    }
    counts = [len(written[split]['images']) for split in ('train', 'val')]
    assert counts == [2, 2] if name == 'hdbpmn_nodes_256' else counts[0] < counts[1]
    assert Path(cfg.val_evaluator.ann_file).samefile(Path(cfg.data_root, 'annotations/val.json'))
    seen, size = set(), (240, 256) if name == 'hdbpmn_nodes_256' else (256, 256)
    for sample in DATASETS.build(cfg.train_dataloader.dataset):
        assert tuple(sample['inputs'].shape) == (3, *size)
        assert sample['data_samples'].ori_shape == size
        seen |= {cfg.metainfo.classes[label] for label in sample['data_samples'].gt_instances.labels}
    assert seen == set(cfg.metainfo.classes)


def test_the_variable_names_another_folder(monkeypatch):
    for name, (_, _, variable) in SOURCES.items():
        monkeypatch.setenv(variable, '/some/folder')
        assert Config.fromfile(FOLDER / f'{name}.py').val_evaluator.ann_file == '/some/folder/annotations/val.json'
