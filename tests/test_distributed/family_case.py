"""A small detector of every family on phantoms, whose training step does not depend on how the images are split."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import HOOKS, MODELS, OPTIM_WRAPPERS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.face_phantom import make_face_phantom
from mmdet_ext.engine.dataset_overlay import overlay_dataset
from mmdet_ext.graphs import CategoryGraph
from tests.test_models.small_detector import CONFIGS, DEMO, shrink

CHEST = CONFIGS / '_base_/datasets/chest_phantom.py'
FAMILIES = {
    'relation': DEMO,
    'cascade': CONFIGS / 'relation_rcnn/all-relations-cascade-mask-rcnn_r18-gn_fpn_chest-phantom.py',
    'ghm': CONFIGS / 'ghm/single-shot_r50_fpn_ghm-1x_coco.py',
    'single_shot': CONFIGS / 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py',
    'yolo': CONFIGS / 'yolo_iou/yolo-iou_r18-gn_chest-phantom.py',
    'faces': CONFIGS / 'retina_face/retina-face_r18-gn_fpn-ssh_face-phantom.py',
}


@OPTIM_WRAPPERS.register_module()
class CPUAutocastOptimWrapper(OptimWrapper):
    """bfloat16 on a CPU; mmengine's AmpOptimWrapper wants a GPU."""

    def optim_context(self, model: torch.nn.Module) -> Any:
        """The forward pass under autocast."""
        return torch.autocast('cpu', torch.bfloat16)


@HOOKS.register_module()
class ImageIdHook(Hook):
    """Keeps the images of every step of this rank."""

    def __init__(self) -> None:
        self.ids: list[list[int]] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Note the batch."""
        self.ids.append([sample.img_id for sample in data_batch['data_samples']])


def make_data(root: Path) -> dict[str, str]:
    """Eight images of each phantom, those of the second of two ranks without objects; variables for the configs."""
    chest, faces = root / 'chest_phantom', root / 'face_phantom'
    make_chest_phantom(chest, train=8, val=2, size=64, preview=False, progress=False)
    make_face_phantom(faces, train=8, val=2, size=64, preview=False, progress=False)
    graph = CategoryGraph.from_coco(chest / 'annotations/train.json')
    graph.save(chest / 'train.catgraph.json')
    for folder in (chest, faces):
        for file in (folder / 'annotations').glob('train*.json'):
            coco = json.loads(file.read_text())
            empty = {image['id'] for image in sorted(coco['images'], key=lambda image: image['id'])[1::2]}
            shutil.copy(file, file.with_name(f'whole_{file.name}'))
            coco['annotations'] = [note for note in coco['annotations'] if note['image_id'] not in empty]
            file.write_text(json.dumps(coco))
    return {'MMDET_EXT_CHEST_PHANTOM': str(chest), 'MMDET_EXT_FACE_PHANTOM': str(faces)}


def family_config(name: str) -> Config:
    """The config with what is random, or normalised by a rank alone, taken out.

    mmdet's RPN divides by the anchors it draws on its rank: here it takes all, so many in each image. mmdet's mask
    loss is a mean over the positives of a rank, with or without our heads: the mask branch is left out.
    """
    cfg = shrink(Config.fromfile(FAMILIES[name]))
    if name == 'ghm':
        overlay_dataset(cfg, Config.fromfile(CHEST))
    if 'roi_head' in cfg.model:
        cfg.model.roi_head.pop('mask_head', None)
        cfg.model.roi_head.pop('mask_roi_extractor', None)
        cfg.model.train_cfg.rpn.assigner.update(pos_iou_thr=0.5, neg_iou_thr=0.5)
        cfg.model.train_cfg.rpn.sampler.update(num=10**6, pos_fraction=1.0)
        stages = cfg.model.train_cfg.rcnn
        for stage in stages if isinstance(stages, list) else [stages]:
            stage.sampler.num = 512
    dataset = cfg.train_dataloader.dataset
    dataset.pop('filter_cfg', None)
    dataset.pipeline = [node for node in dataset.pipeline if 'Flip' not in node['type']]
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.sampler = dict(type='DefaultSampler', shuffle=False)
    cfg.train_dataloader.pop('batch_sampler', None)
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
    cfg.param_scheduler = []
    cfg.train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1, val_begin=100)
    cfg.default_hooks.logger.interval = 1
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='ImageIdHook')]
    cfg.randomness = dict(seed=1)
    return cfg


def save_start(config: Path, path: Path) -> Path:
    """First weights of the config's model."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.save({'state_dict': model.state_dict()}, path)
    return path
