"""The data parts of the configs for WIDER FACE: they read what their docstrings say, and their metrics count it."""

import ast
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from mmdet.models.utils.misc import samplelist_boxtype2tensor
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from test_datasets.wider_sample import write_wider

from mmdet_ext.engine.config_check import check_config

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / 'configs/_base_/datasets'


@pytest.fixture
def data(tmp_path, monkeypatch):
    """The folder that the configs read, below a working directory without anything else."""
    root = tmp_path / 'data/WIDERFace'
    write_wider(root, 'WIDER_train/images', landmarks='retinaface_gt_v1.1/train/label.txt')
    write_wider(root, 'WIDER_val/images', official='wider_face_split/wider_face_val_bbx_gt.txt')
    monkeypatch.delenv('MMDET_EXT_WIDERFACE', raising=False)
    monkeypatch.chdir(tmp_path)
    return root


def convert(name, monkeypatch):
    """Run the commands of a config's docstring."""
    docstring = ast.get_docstring(ast.parse((FOLDER / name).read_text()))
    for line in re.sub(r'\\\n\s*', ' ', docstring).splitlines():
        if line.strip().startswith('python '):
            _, tool, *arguments = shlex.split(line)
            monkeypatch.setattr(sys, 'argv', [tool, *arguments])
            runpy.run_path(str(ROOT / tool), run_name='__main__')


def perfect(evaluator, dataset):
    """Metrics of predictions that are the ground truth."""
    metric = METRICS.build(evaluator)
    metric.dataset_meta = dataset.metainfo
    for sample in dataset:
        truth = sample['data_samples']
        samplelist_boxtype2tensor([truth])  # as the data preprocessor does
        boxes = truth.gt_instances.bboxes
        truth.pred_instances = InstanceData(
            bboxes=boxes, scores=boxes.new_ones(len(boxes)), labels=truth.gt_instances.labels
        )
        metric.process({}, [truth.to_dict()])
    return metric.evaluate(len(dataset))


@pytest.mark.parametrize(
    ('name', 'key'), [('wider_face.py', 'wider_face/all_AP'), ('wider_face_coco.py', 'coco/bbox_mAP')]
)
def test_they_read_their_data(data, monkeypatch, name, key):
    init_default_scope('mmdet')
    convert(name, monkeypatch)
    cfg = Config.fromfile(FOLDER / name)
    assert [str(problem) for problem in check_config(cfg) if problem.severity == 'error'] == []
    train = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(train) == 2
    for sample in train:
        assert tuple(sample['inputs'].shape) == (3, 640, 640)
        assert sample['data_samples'].gt_instances.keypoints.shape[1:] == (5, 3)
    val = DATASETS.build(cfg.val_dataloader.dataset)
    assert len(val) == 3
    for sample in val:
        # The data preprocessor of the detector pads, so that boxes are still cut at the border of the picture.
        assert sample['data_samples'].img_shape == tuple(sample['inputs'].shape[1:])
        assert sample['data_samples'].scale_factor[0] > 5
    if cfg.val_evaluator.type == 'WiderFaceMetric':
        assert cfg.val_evaluator.pop('settings') == 'data/WIDERFace/eval_tools/ground_truth'  # the official .mat files
        cfg.val_evaluator.heights = dict(all=0)
    assert perfect(cfg.val_evaluator, val)[key] == pytest.approx(1)


def test_the_variable_names_another_folder(monkeypatch):
    monkeypatch.setenv('MMDET_EXT_WIDERFACE', '/some/folder')
    assert Config.fromfile(FOLDER / 'wider_face.py').train_dataloader.dataset.data_root == '/some/folder/'
    cfg = Config.fromfile(FOLDER / 'wider_face_coco.py')
    assert cfg.val_evaluator.ann_file == '/some/folder/annotations/val.json'
    assert cfg.train_dataloader.dataset.type == cfg.test_dataloader.dataset.type == 'CocoLandmarkDataset'
