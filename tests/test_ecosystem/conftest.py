"""Small detectors of our configs, trained for two iterations on a tiny data set, for the tests of this folder."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_ext.engine.dataset_overlay import overlay_dataset
from mmdet_ext.engine.launch import test as run_test
from mmdet_ext.engine.launch import train
from tests.test_models.small_detector import CONFIGS, small_config
from tests.tiny_coco import data_config, make_tiny_coco

KINDS = {
    'relation': CONFIGS / 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'single_shot': CONFIGS / 'single_shot/single-shot_r18-gn_fpn_bccd.py',
}


@dataclass(frozen=True)
class Trained:
    """Files of a training.

    Attributes:
        config: One file without bases.
        checkpoint: Its weights.
        predictions: Of the test set, as mmdet's tools read them.
        log: Scalars of all iterations, a line of json each.
        images: Folder of the pictures.
    """

    config: Path
    checkpoint: Path
    predictions: Path
    log: Path
    images: Path


def small_file(path: Path, target: Path, paths: dict[str, str]) -> Path:
    """One of our configs, made small and laid over the tiny data set, as a file."""
    data = target.with_name('data.py')
    data.write_text(data_config(paths))
    cfg = small_config(path)
    overlay_dataset(cfg, Config.fromfile(data))
    # Nothing is left out: the tools are to see boxes.
    (cfg.model.test_cfg.rcnn if 'rcnn' in cfg.model.test_cfg else cfg.model.test_cfg).score_thr = 0.0
    cfg.merge_from_dict({'train_cfg.max_epochs': 1, 'default_hooks.logger.interval': 1})
    cfg.dump(target)
    return target


def own_names(name: str) -> dict[str, str]:
    """Options of a run that has its history and its log to itself: mmengine shares both in a process by name."""
    return {'experiment_name': name, 'visualizer.name': name}


@pytest.fixture(scope='session')
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Trained]:
    """By kind."""
    found = {}
    for kind, path in KINDS.items():
        root = tmp_path_factory.mktemp(kind)
        paths = make_tiny_coco(root / 'data', n=4)
        config = small_file(path, root / f'{kind}.py', paths)
        train(config, work_dir=root / 'run', cfg_options=own_names(f'ecosystem_{kind}'))
        checkpoint, predictions = root / 'run' / 'epoch_1.pth', root / 'predictions.pkl'
        run_test(config, checkpoint, work_dir=root / 'test', out=str(predictions))
        (log,) = (root / 'run').glob('*/vis_data/scalars.json')
        found[kind] = Trained(config, checkpoint, predictions, log, Path(paths['images']))
    return found
