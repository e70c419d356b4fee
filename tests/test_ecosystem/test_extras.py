"""Extras in a config of ours: Albumentations in a pipeline, faster-coco-eval in place of pycocotools."""

from pathlib import Path

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.engine.launch import test as run_test
from tests.test_models.small_detector import CONFIGS

from .conftest import Trained

pytestmark = pytest.mark.xdist_group('ecosystem')


def test_albumentations_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks and boxes of augmented pictures cover each other."""
    pytest.importorskip('albumentations', reason='requirements/optional.txt')
    make_chest_phantom(tmp_path / 'phantom', train=4, val=1, preview=False, progress=False)
    monkeypatch.setenv('MMDET_EXT_CHEST_PHANTOM', str(tmp_path / 'phantom'))
    cfg = Config.fromfile(CONFIGS / '_base_/datasets/chest_phantom_albu.py')
    init_default_scope('mmdet')
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    errors = []
    for item in [dataset[index] for index in range(len(dataset)) for _ in range(3)]:
        sample = item['data_samples']
        truth = sample.gt_instances
        assert item['inputs'].shape[1:] == sample.img_shape
        for mask, box in zip(truth.masks.masks, truth.bboxes.tensor, strict=True):
            y, x = np.nonzero(mask)
            if len(x):
                errors.append(np.abs(np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) - box.numpy()).max())
    # A box that was turned is the hull of its corners, larger than that of its mask.
    assert len(errors) > 5
    assert np.median(errors) < 4


def test_fast_evaluation_by_one_option(trained: dict[str, Trained], tmp_path: Path) -> None:
    pytest.importorskip('faster_coco_eval', reason='requirements/optional.txt')
    one = trained['single_shot']
    figures = [
        run_test(one.config, one.checkpoint, work_dir=tmp_path, cfg_options={'test_evaluator.type': kind})
        for kind in ('CocoMetric', 'FastCocoMetric')
    ]
    assert figures[0] == figures[1]
    assert figures[0]['coco/bbox_mAP'] > -1
