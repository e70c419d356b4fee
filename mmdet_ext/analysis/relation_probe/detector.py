"""A trained relation detector with its test data, ready to be looked into."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import SampleList
from mmdet.utils import InstanceList
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from mmdet_ext.engine.checkpoint import check_weights, read_checkpoint
from mmdet_ext.engine.config_check import check_config, raise_on_problems
from mmdet_ext.engine.launch import load_config

from ..trained_detector import learnt_classes, name_places, no_such_image
from .nodes import relation_head


@dataclass
class PreparedBatch:
    """What the RoI head gets, computed once for all interventions."""

    maps: tuple[Tensor, ...]
    proposals: InstanceList
    samples: SampleList


class ProbedDetector:
    """A detector, its test data and their evaluator.

    Args:
        config: Config file.
        checkpoint: The weights.
        num: Number of images of the test set, the first ones; None for all.
        cfg_options: Dotted key to value, merged into the config.

    Attributes:
        cfg: The config.
        model: The detector, in evaluation mode.
        loader: Batches of the images.
        dataset: The images, one by one.
        classes: Class names.

    Raises:
        FileNotFoundError: Config, checkpoint or category graph is missing.
        ValueError: Faulty data, a detector without relations, a checkpoint of another model or of other classes.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path,
        num: int | None = None,
        cfg_options: Mapping[str, Any] | None = None,
    ) -> None:
        if num is not None and num < 1:
            raise ValueError(f'--num {num}: the number of images must be at least 1; leave it out for all of them')
        self.cfg: Config = load_config(config, cfg_options=cfg_options)
        init_default_scope(self.cfg.get('default_scope', 'mmdet'))
        stored = read_checkpoint(checkpoint)
        raise_on_problems(check_config(self.cfg, splits=('test',)))
        self.model: Any = MODELS.build(self.cfg.model)
        relation_head(self.model)
        loader = self.cfg.test_dataloader.copy()
        whole = Runner.build_dataloader({**loader, 'num_workers': 0, 'persistent_workers': False}).dataset
        self.classes = tuple(whole.metainfo['classes'])
        self._check_classes(stored, checkpoint)
        check_weights(self.model, checkpoint, strict=True)
        self.model.to(get_device()).eval()
        self.whole, self.dataset = whole, Subset(whole, range(min(num or len(whole), len(whole))))
        # One process, in order: the images are few, and their order decides which are the first.
        self.loader = DataLoader(self.dataset, batch_size=loader.get('batch_size', 1), collate_fn=pseudo_collate)
        self.evaluator = build_evaluator(self.cfg.test_evaluator, whole.metainfo)

    def _check_classes(self, stored: Mapping[str, Any], checkpoint: str | Path) -> None:
        learnt = learnt_classes(stored)
        if learnt is not None and learnt != self.classes:
            raise ValueError(
                f'{checkpoint} was trained on {len(learnt)} classes ({", ".join(learnt)}), the test data of '
                f'{self.cfg.filename} have {len(self.classes)} ({", ".join(self.classes)}): give the config the '
                'checkpoint was trained with'
            )

    def find_images(self, wanted: Sequence[str]) -> list[int]:
        """Places in the whole test set of images named by file name, file stem or id.

        Raises:
            ValueError: There is no such image; the nearest name is given.
        """
        places = name_places(self.whole)
        for name in wanted:
            if name not in places:
                raise no_such_image(name, places, '--images', 'the test set')
        return [places[name] for name in wanted]

    @torch.no_grad()
    def prepare(self, batch: Mapping[str, Any]) -> PreparedBatch:
        """Feature maps and proposals of a batch of the loader."""
        data = self.model.data_preprocessor(batch, False)
        maps = self.model.extract_feat(data['inputs'])
        samples = data['data_samples']
        if samples[0].get('proposals') is None:
            proposals = self.model.rpn_head.predict(maps, samples, rescale=False)
        else:
            proposals = [sample.proposals for sample in samples]
        return PreparedBatch(maps, proposals, samples)

    def batches(self) -> Iterator[PreparedBatch]:
        """All images, prepared."""
        return map(self.prepare, self.loader)

    @torch.no_grad()
    def predict(self, batch: PreparedBatch) -> SampleList:
        """Data samples with the detections, in pixels of the image files."""
        results = self.model.roi_head.predict(batch.maps, batch.proposals, batch.samples, rescale=True)
        return self.model.add_pred_to_datasample(batch.samples, results)

    def probabilities(self, batch: PreparedBatch) -> Tensor:
        """(N, C + 1) class probabilities of all RoIs, image by image, with a graph for gradients."""
        logits = self.model.roi_head.forward(batch.maps, batch.proposals, batch.samples)[0]
        logits = logits if isinstance(logits, Tensor) else torch.cat(list(logits))
        head = relation_head(self.model)
        return head.loss_cls.get_activation(logits) if head.custom_cls_channels else logits.softmax(-1)


def build_evaluator(cfg: Any, metainfo: Mapping[str, Any]) -> Evaluator:
    """The config's evaluator, which also gives the AP of each class where it can."""
    with quiet():
        evaluator = Evaluator(cfg)
    evaluator.dataset_meta = metainfo
    for metric in evaluator.metrics:
        if hasattr(metric, 'classwise'):
            metric.classwise = True
    return evaluator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Neither tables nor progress of an evaluation on the console."""
    # mmengine's logger remembers what it may say; `logging.disable` would come too late.
    logger = MMLogger.get_current_instance()
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
