"""Benchmark: a training step of the relation detector beside the plain one."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData

from .geometry_attention import random_boxes

CONFIG = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
# The short side of COCO's training images and a common long one, padded to the stride.
SIZE = (800, 1344)
OBJECTS = 20


def relation_config() -> Config:
    """The plain detector's config, with one geometry attention beside the features of every RoI."""
    cfg = get_config(CONFIG)
    cfg.model.roi_head.type = 'RelationRoIHead'
    cfg.model.roi_head.bbox_head.update(
        type='RelationBBoxHead',
        num_shared_fcs=2,
        fusion='concat',
        relations=[dict(type='GeometryAttentionRelation', keys='nongt')],
    )
    return cfg


class RelationStepCase:
    """ResNet-50-FPN, one image of 800 pixels, RoIs of the config (512): losses, backward, optimizer."""

    name = 'relation-step'
    sibling = 'plain Faster R-CNN'
    # At most 1.05 times the time.
    speed: float | None = 1 / 1.05
    memory: float | None = None
    threads: int | None = None
    repeats = 8

    def __init__(self, size: tuple[int, int] = SIZE, shrink: Callable[[Config], Config] = lambda cfg: cfg) -> None:
        self.size, self.shrink = size, shrink
        self.title = f'{self.name}, R50-FPN, {size[1]} x {size[0]} pixels'

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], dict], Callable[[], dict]]:
        """One step of each detector, from the same weights, on the same image, with the same random numbers.

        Raises:
            ValueError: the proposals do not fill the sampler, so that the time would be of fewer RoIs.
        """
        init_default_scope('mmdet')
        generator = torch.Generator().manual_seed(seed)
        height, width = self.size
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        bounds = torch.tensor([width, height, width, height])
        sample = DetDataSample(
            metainfo=dict(img_shape=self.size, ori_shape=self.size, pad_shape=self.size, scale_factor=(1.0, 1.0))
        )
        sample.gt_instances = InstanceData(
            bboxes=random_boxes(OBJECTS, generator).clamp(min=torch.zeros(4), max=bounds),
            labels=torch.randint(0, 80, (OBJECTS,), generator=generator),
        )
        torch.manual_seed(seed)
        plain = self._build(get_config(CONFIG), device)
        related = self._build(relation_config(), device)
        # What both have is the same; the rest starts as a warm start does.
        related.load_state_dict(plain.state_dict(), strict=False)

        def stepper(model: Any) -> Callable[[], dict]:
            rois: list[int] = []
            model.roi_head.bbox_head.register_forward_pre_hook(lambda _, args: rois.append(len(args[0])))
            wanted = model.train_cfg.rcnn.sampler.num
            optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6, momentum=0.9)

            def step() -> dict:
                torch.manual_seed(seed)
                optimizer.zero_grad()
                data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample.clone()]), training=True)
                losses = model(**data, mode='loss')
                if rois.pop() != wanted:
                    raise ValueError(f'{self.name}: there are not enough proposals for {wanted} RoIs')
                total, _ = model.parse_losses(losses)
                total.backward()
                optimizer.step()
                return losses

            return step

        return stepper(related), stepper(plain)

    def _build(self, cfg: Config, device: torch.device) -> Any:
        model_cfg = self.shrink(cfg).model
        # No download: the time does not depend on the weights.
        model_cfg.backbone.init_cfg = None
        model = MODELS.build(model_cfg)
        # It reports every parameter.
        logging.disable(logging.INFO)
        try:
            model.init_weights()
        finally:
            logging.disable(logging.NOTSET)
        # Proposals are anchors then, of which enough survive NMS to fill the sampler.
        torch.nn.init.zeros_(model.rpn_head.rpn_reg.weight)
        return model.to(device).train()

    def check(self, ours: dict, sibling: dict) -> None:
        """The same proposals, hence the same number of RoIs."""
        for name in ('loss_rpn_cls', 'loss_rpn_bbox'):
            pair = [float(sum(losses[name]).detach()) for losses in (ours, sibling)]
            if not abs(pair[0] - pair[1]) <= 1e-4 * abs(pair[1]):
                raise ValueError(f'{self.name}: {name} is {pair[0]} with relations and {pair[1]} without')
