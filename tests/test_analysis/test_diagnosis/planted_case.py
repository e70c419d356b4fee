"""Coloured shapes, and two small detectors that learn them in a minute: healthy ones, into which tests plant faults."""

import functools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmdet_ext.analysis.diagnosis.diagnose import run_diagnosis
from mmdet_ext.analysis.relation_probe.detector import quiet
from tests.test_models.small_detector import CONFIGS

CLASSES = ('red disc', 'blue disc', 'bar', 'dot')
SIZE = 128
# Blue, green, red, as OpenCV draws.
_COLORS = ((60, 60, 200), (200, 60, 60), (70, 190, 70), (60, 210, 220))
MEAN, STD = [103.0, 106.0, 105.0], [27.0, 29.0, 28.0]


def make_shapes(root: Path, split: str, n: int, seed: int, first_id: int = 0) -> None:
    """Write `<root>/<split>/*.png` and `<root>/<split>.json`: discs that differ by colour, tall bars, small dots."""
    (root / split).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for index in range(first_id, first_id + n):
        picture = cv2.resize(rng.uniform(60, 150, (8, 8, 3)).astype(np.float32), (SIZE, SIZE))
        picture = (picture + rng.normal(0, 5, picture.shape)).clip(0, 255).astype(np.uint8)
        taken: list[tuple[int, int, int, int]] = []
        for label in rng.permutation([0, 1, 2, 3, *rng.integers(0, 4, 2)])[: rng.integers(2, 6)]:
            box = _place(rng, int(label), taken)
            if box is None:
                continue
            x, y, w, h = box
            taken.append(box)
            color = tuple(int(c + rng.integers(-20, 20)) for c in _COLORS[label])
            if label == 2:
                cv2.rectangle(picture, (x, y), (x + w - 1, y + h - 1), color, -1)
            else:
                cv2.ellipse(picture, (x + w // 2, y + h // 2), (w // 2 - 1, h // 2 - 1), 0, 0, 360, color, -1)
            annotations.append(
                {
                    'id': 1000 * index + len(taken),
                    'image_id': index,
                    'category_id': int(label) + 1,
                    'bbox': [x, y, w, h],
                    'area': w * h,
                    'iscrowd': 0,
                }
            )
        name = f'{split}_{index:04d}.png'
        cv2.imwrite(str(root / split / name), picture)
        images.append({'id': index, 'file_name': name, 'width': SIZE, 'height': SIZE})
    categories = [{'id': label + 1, 'name': name} for label, name in enumerate(CLASSES)]
    text = json.dumps({'images': images, 'annotations': annotations, 'categories': categories})
    (root / f'{split}.json').write_text(text)


def _place(rng: Any, label: int, taken: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int] | None:
    """A box of the class where it touches no other one."""
    for _ in range(20):
        w = int(rng.integers(*{2: (12, 18), 3: (10, 14)}.get(label, (22, 40))))
        h = int(rng.integers(36, 60)) if label == 2 else w
        x, y = int(rng.integers(0, SIZE - w)), int(rng.integers(0, SIZE - h))
        if all(x + w < a or a + c < x or y + h < b or b + d < y for a, b, c, d in taken):
            return x, y, w, h
    return None


def shapes_config(root: Path, kind: str) -> Config:
    """Config of a detector on the shapes.

    Args:
        root: Folder of the data.
        kind: 'two' for Faster R-CNN, 'one' for a one-stage detector.
    """
    name = {
        'two': 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py',
        'one': 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py',
    }[kind]
    with quiet():
        cfg = Config.fromfile(CONFIGS / name)
    model = cfg.model
    norm = {'type': 'GN', 'num_groups': 8}
    model.data_preprocessor.update(mean=MEAN, std=STD, bgr_to_rgb=True, pad_size_divisor=32)
    model.backbone.update(base_channels=16, norm_cfg=norm)
    model.neck.update(in_channels=[16, 32, 64, 128], out_channels=32, norm_cfg=norm)
    if kind == 'two':
        model.neck.num_outs = 4
        model.rpn_head.update(in_channels=32, feat_channels=32)
        model.rpn_head.anchor_generator.update(scales=[4], strides=[4, 8, 16, 32])
        model.roi_head.bbox_roi_extractor.update(out_channels=32)
        model.roi_head.bbox_roi_extractor.roi_layer.output_size = 5
        model.roi_head.bbox_head.update(in_channels=32, fc_out_channels=96, roi_feat_size=5, num_classes=len(CLASSES))
        model.train_cfg.rpn_proposal.update(nms_pre=200, max_per_img=64)
        model.train_cfg.rcnn.sampler.num = 48
        model.test_cfg.rpn.update(nms_pre=200, max_per_img=48)
    else:
        # Weights with BatchNorm notice other pixel values; group norm undoes them.
        model.backbone.norm_cfg = {'type': 'BN'}
        model.bbox_head.update(in_channels=32, feat_channels=32, norm_cfg=norm, num_classes=len(CLASSES))
    cfg.auto_scale_lr.base_batch_size = 4
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        data = 'train' if split == 'train' else 'val'
        loader.dataset.update(
            metainfo=ConfigDict(classes=CLASSES),
            data_root=f'{root}/',
            ann_file=f'{data}.json',
            data_prefix={'img': f'{data}/'},
        )
        for node in loader.dataset.pipeline:
            if node.type == 'Resize':
                node.scale = (SIZE, SIZE)
            if node.type == 'LoadAnnotations':
                node.with_mask = False
        if split != 'train':
            cfg[f'{split}_evaluator'].ann_file = f'{root}/val.json'
    return cfg


def write_config(cfg: Config, path: Path) -> Path:
    """Not `dump`, which takes seconds to format the text."""
    path.write_text(''.join(f'{key} = {value!r}\n' for key, value in cfg.to_dict().items()))
    return path


def fit(cfg: Config, model: torch.nn.Module, iters: int, lr: float = 2e-3) -> float:
    """Train for some batches; the mean loss of the last ten."""
    init_default_scope('mmdet')
    wrapper = build_optim_wrapper(model, {**cfg.optim_wrapper, 'optimizer': {**cfg.optim_wrapper.optimizer, 'lr': lr}})
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    model.train()
    losses: list[float] = []
    batches = iter(loader)
    for step in range(iters):
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        rate = lr * min(1.0, (step + 1) / 20) * 0.5 * (1 + np.cos(np.pi * step / iters))
        for group in wrapper.param_groups:
            group['lr'] = rate
        losses.append(float(model.train_step(batch, wrapper)['loss']))
    return float(np.mean(losses[-10:]))


class Shapes:
    """Data, config and trained weights of a detector, in a folder that goes with the process.

    Args:
        kind: See `shapes_config`.
        iters: Length of the training, in batches of `batch`.
        batch: Images per batch.
    """

    def __init__(self, kind: str, iters: int, batch: int = 4, lr: float = 2e-3) -> None:
        self.kind = kind
        self.root = data_folder()
        self.cfg = shapes_config(self.root, kind)
        self.cfg.train_dataloader.batch_size = batch
        self.folder = Path(_FOLDER.name) / kind
        self.folder.mkdir()
        self.config = write_config(self.cfg, self.folder / 'config.py')
        torch.manual_seed(0)
        with quiet():
            self.model = MODELS.build(self.cfg.model)
            self.model.init_weights()
            self.loss = fit(self.cfg, self.model, iters, lr)
        self.checkpoint = self.folder / 'healthy.pth'
        save(self.model.state_dict(), self.checkpoint)


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    """A checkpoint as the Runner writes it, as far as the diagnosis reads it."""
    torch.save({'state_dict': state, 'meta': {'dataset_meta': {'classes': CLASSES}, 'epoch': 8, 'iter': 240}}, path)
    return path


class Plant:
    """A copy of a healthy detector, into which one test plants a fault.

    Args:
        kind: See `shapes_config`.
        folder: For all that is written.

    Attributes:
        root: Folder of the data: `train.json`, `val.json`, and links to the images.
        cfg: To be changed before `diagnose`.
        state: Weights, to be changed likewise.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        healthy = shapes(kind)
        self.folder, self.root = folder, folder / 'data'
        for split in ('train', 'val'):
            (self.root / split).mkdir(parents=True)
            for picture in (healthy.root / split).iterdir():
                (self.root / split / picture.name).symlink_to(picture)
            shutil.copy(healthy.root / f'{split}.json', self.root)
        self.cfg = Config.fromfile(healthy.config)
        for split in ('train', 'val', 'test'):
            self.cfg[f'{split}_dataloader'].dataset.data_root = f'{self.root}/'
        for split in ('val', 'test'):
            self.cfg[f'{split}_evaluator'].ann_file = f'{self.root}/val.json'
        self.state = {key: value.clone() for key, value in healthy.model.state_dict().items()}

    def annotations(self, split: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the annotation file of a split."""
        file = self.root / f'{split}.json'
        coco = json.loads(file.read_text())
        change(coco)
        file.write_text(json.dumps(coco))

    def pictures(self, split: str, change: Callable[[Any], Any]) -> None:
        """Replace the links of a split by changed pictures."""
        for link in sorted((self.root / split).iterdir()):
            changed = change(cv2.imread(str(link)))
            link.unlink()
            cv2.imwrite(str(link), changed)

    def resize(self, split: str, **options: Any) -> None:
        """Change Resize of a pipeline."""
        for node in self.cfg[f'{split}_dataloader'].dataset.pipeline:
            if node.type == 'Resize':
                node.update(options)

    def fit(self, iters: int, lr: float = 1e-3) -> None:
        """Train the weights on with the config as it is now."""
        with quiet():
            model = MODELS.build(self.cfg.model)
            model.load_state_dict(self.state)
            fit(self.cfg, model, iters, lr)
        self.state = model.state_dict()

    def write(self) -> tuple[Path, Path]:
        """Files of config and weights."""
        return write_config(self.cfg, self.folder / 'config.py'), save(self.state, self.folder / 'weights.pth')

    def diagnose(self, **options: Any) -> dict[str, Any]:
        """Summary of the diagnosis of twelve images of each split."""
        config, checkpoint = self.write()
        given = {'num': 12, 'trial_images': 4, 'pictures': False, 'progress': False} | options
        return run_diagnosis(config, checkpoint, self.folder / 'out', **given)

    def named(self, **options: Any) -> dict[str, Any]:
        """The first verdict."""
        return self.diagnose(**options)['verdicts'][0]


_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def data_folder() -> Path:
    root = Path(_FOLDER.name) / 'data'
    make_shapes(root, 'train', 120, seed=1)
    make_shapes(root, 'val', 24, seed=2, first_id=1000)
    return root


@functools.cache
def shapes(kind: str) -> Shapes:
    """The healthy detector, trained once."""
    return {'two': lambda: Shapes('two', iters=340), 'one': lambda: Shapes('one', iters=260, lr=3e-3)}[kind]()
