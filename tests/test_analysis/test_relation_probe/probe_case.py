"""A small detector with every relation on a phantom of three images, shared by the tests of the relation probe."""

import functools
import os
import tempfile
from pathlib import Path

import torch
from mmdet.registry import MODELS
from mmengine.config import Config

from mmdet_ext.analysis.relation_probe.detector import ProbedDetector, quiet
from mmdet_ext.analysis.relation_probe.nodes import find_relations, relation_head
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.graphs import CategoryGraph
from tests.test_models.small_detector import CONFIGS, flat, shrink

ALL = CONFIGS / 'relation_rcnn/all-relations-faster-rcnn_r18-gn_fpn_chest-phantom.py'
CASCADE = CONFIGS / 'relation_rcnn/all-relations-cascade-mask-rcnn_r18-gn_fpn_chest-phantom.py'
PLAIN = CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py'


class ProbeFiles:
    """Phantom, configs and checkpoints of random weights, in a folder that goes with the process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.root = Path(self._folder.name)
        self.data = self.root / 'data'
        make_chest_phantom(self.data, train=2, val=3, size=160, seed=1)
        CategoryGraph.from_coco(self.data / 'annotations' / 'train.json').save(self.data / 'train.catgraph.json')
        os.environ['MMDET_EXT_CHEST_PHANTOM'] = str(self.data)
        try:
            self.config, self.checkpoint = self._write('all', ALL)
            self.cascade, self.cascade_checkpoint = self._write('cascade', CASCADE)
            self.plain, self.plain_checkpoint = self._write('plain', PLAIN)
        finally:
            del os.environ['MMDET_EXT_CHEST_PHANTOM']

    def _write(self, name: str, source: Path) -> tuple[Path, Path]:
        with quiet():
            cfg = shrink(Config.fromfile(source))
        cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=12)
        cfg.model.test_cfg.rpn.max_per_img = 15
        heads = cfg.model.roi_head.bbox_head
        for head in heads if isinstance(heads, list) else [heads]:
            # Heads of 32 channels.
            for relation in flat(head.get('relations', [])):
                if relation.type in ('GeometryAttentionRelation', 'PartContextRelation'):
                    relation.update(heads=4, key_dim=8)
        config = self.root / f'{name}.py'
        # Not `dump`, which takes seconds to format the text.
        config.write_text(''.join(f'{key} = {value!r}\n' for key, value in cfg.to_dict().items()))
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        for module in model.modules():
            # Clear opinions, so that something changes when a relation is disturbed.
            if isinstance(module, torch.nn.Linear) and module.out_features in (11, 10):
                torch.nn.init.normal_(module.weight, std=0.4)
        checkpoint = self.root / f'{name}.pth'
        torch.save({'state_dict': model.state_dict(), 'meta': {}}, checkpoint)
        return config, checkpoint


@functools.cache
def files() -> ProbeFiles:
    return ProbeFiles()


@functools.cache
def _detector(cascade: bool) -> ProbedDetector:
    own = files()
    with quiet():
        if cascade:
            return ProbedDetector(own.cascade, own.cascade_checkpoint, num=2)
        return ProbedDetector(own.config, own.checkpoint)


def detector(cascade: bool = False) -> ProbedDetector:
    return _detector(cascade)


def nodes(cascade: bool = False):
    return find_relations(relation_head(detector(cascade).model))


def node(place: str, cascade: bool = False):
    """The relation at this place of the head, such as '8.1'."""
    return next(each for each in nodes(cascade) if each.name.split()[0] == place)


@functools.cache
def _batch(cascade: bool):
    return next(detector(cascade).batches())


def batch(cascade: bool = False):
    return _batch(cascade)
