"""Benchmark: a training step of each family beside the nearest detector of mmdet."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmdet_ext.engine.config_file import read_config
from mmdet_ext.engine.hooks.channels_last_hook import use_channels_last

from .geometry_attention import IMAGE, random_boxes
from .limits import Work, count_flops

# The short side of COCO's training images and a common long one, padded to the stride.
SIZE = (800, 1344)
OBJECTS = 20
LANDMARKS = 5
Losses = dict[str, Any]


class TrainingStepCase:
    """One image, or several alike: losses, backward, optimizer.

    Args:
        name: of the row.
        what: detector and input in words.
        ours: config, as `read_config` takes it.
        stock: that of mmdet's detector.
        sibling: its name.
        speed: mmdet's must take at least this many times as long; None: nothing is asked.
        options: of ours, dotted key to value.
        stock_options: of mmdet's.
        size: of the image, height and width.
        same: losses that are the same in both, from the same weights.
        channels_last: whether ours trains as with `ChannelsLastHook`.
        batch: images of a step.
        dtype: of autocast, on both sides; None: float32.
        repeats: measurements of each side.
        shrink: makes a config small, for tests.
    """

    memory: float | None = None
    threads: int | None = None

    def __init__(
        self,
        name: str,
        what: str,
        ours: str,
        stock: str,
        sibling: str,
        *,
        speed: float | None = None,
        options: Mapping[str, Any] | None = None,
        stock_options: Mapping[str, Any] | None = None,
        size: tuple[int, int] = SIZE,
        same: tuple[str, ...] = (),
        channels_last: bool = False,
        batch: int = 1,
        dtype: torch.dtype | None = None,
        repeats: int = 8,
        shrink: Callable[[Config], Config] | None = None,
    ) -> None:
        self.name, self.sibling, self.speed, self.size, self.same = name, sibling, speed, size, same
        self.batch, self.dtype, self.repeats = batch, dtype, repeats
        images = f'{batch} x {size[1]} x {size[0]} pixels' if batch > 1 else f'{size[1]} x {size[0]} pixels'
        self.title = f'{name}, {what}, {images}' + (f', {str(dtype).removeprefix("torch.")}' if dtype else '')
        self.configs = ((ours, dict(options or {})), (stock, dict(stock_options or {})))
        self.channels_last, self.shrink = channels_last, shrink

    def prepare(self, device: torch.device, seed: int) -> tuple[Callable[[], Losses], Callable[[], Losses]]:
        """One step of each detector on the same image, with the same random numbers.

        Raises:
            ValueError: the proposals do not fill the sampler, so that the time would be of fewer RoIs.
        """
        init_default_scope('mmdet')
        torch.manual_seed(seed)
        ours, plain = (self._build(config, options, device) for config, options in self.configs)
        if self.channels_last:
            use_channels_last(ours)
        if self.same:
            # What is new starts as a warm start does.
            ours.load_state_dict(plain.state_dict(), strict=False)
        image, sample = self._example(torch.Generator().manual_seed(seed), min(_classes(ours), _classes(plain)))
        return self._stepper(ours, image, sample, seed), self._stepper(plain, image, sample, seed)

    def _example(self, generator: torch.Generator, classes: int) -> tuple[Tensor, DetDataSample]:
        """An image of noise with objects, their masks and landmarks; a detector takes what it knows."""
        height, width = self.size
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        bounds = torch.tensor([width, height, width, height])
        scale = torch.tensor([width / IMAGE[1], height / IMAGE[0]] * 2)
        boxes = (random_boxes(OBJECTS, generator) * scale).clamp(min=torch.zeros(4), max=bounds)
        sample = DetDataSample(
            metainfo=dict(img_shape=self.size, ori_shape=self.size, pad_shape=self.size, scale_factor=(1.0, 1.0))
        )
        places = boxes[:, None, :2] + torch.rand(OBJECTS, LANDMARKS, 2, generator=generator) * (
            boxes[:, None, 2:] - boxes[:, None, :2]
        )
        masks = (torch.rand(OBJECTS, height, width, generator=generator) < 0.5).numpy()
        sample.gt_instances = InstanceData(
            bboxes=boxes,
            labels=torch.randint(0, classes, (OBJECTS,), generator=generator),
            masks=BitmapMasks(masks, height, width),
            keypoints=torch.cat([places, torch.full((OBJECTS, LANDMARKS, 1), 2.0)], dim=-1),
        )
        return image, sample

    def _stepper(self, model: Any, image: Tensor, sample: DetDataSample, seed: int) -> Callable[[], Losses]:
        rois: list[int] = []
        wanted = 0
        if hasattr(model, 'roi_head'):
            heads = model.roi_head.bbox_head
            cascade = isinstance(heads, nn.ModuleList)
            (heads[0] if cascade else heads).register_forward_pre_hook(lambda _, args: rois.append(len(args[0])))
            wanted = (model.train_cfg.rcnn[0] if cascade else model.train_cfg.rcnn).sampler.num
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6, momentum=0.9)

        def step() -> Losses:
            torch.manual_seed(seed)
            optimizer.zero_grad()
            batch = dict(inputs=[image] * self.batch, data_samples=[sample.clone() for _ in range(self.batch)])
            data = model.data_preprocessor(batch, training=True)
            with torch.autocast(data['inputs'].device.type, self.dtype, enabled=self.dtype is not None):
                losses = model(**data, mode='loss')
            if wanted and rois.pop() != wanted * self.batch:
                raise ValueError(f'{self.name}: there are not enough proposals for {wanted} RoIs')
            total, _ = model.parse_losses(losses)
            total.backward()
            optimizer.step()
            return losses

        return step

    def _build(self, config: str, options: Mapping[str, Any], device: torch.device) -> Any:
        cfg = read_config(config)
        cfg.merge_from_dict(dict(options))
        model_cfg = (self.shrink(cfg) if self.shrink else cfg).model
        # No download: the time does not depend on the weights.
        model_cfg.backbone.init_cfg = None
        # It reports every parameter.
        logging.disable(logging.INFO)
        try:
            model = MODELS.build(model_cfg)
            model.init_weights()
        finally:
            logging.disable(logging.NOTSET)
        if hasattr(model, 'rpn_head'):
            # Proposals are anchors then, of which enough survive NMS to fill the sampler.
            torch.nn.init.zeros_(model.rpn_head.rpn_reg.weight)
        return model.to(device).train()

    def check(self, ours: Losses, sibling: Losses) -> None:
        """Finite losses, and the same where both detectors are the same: the same proposals, hence as many RoIs."""
        for losses in (ours, sibling):
            for name in losses:
                if not torch.isfinite(_total(losses, name)):
                    raise ValueError(f'{self.name}: {name} is {_total(losses, name)}')
        for name in self.same:
            pair = [float(_total(losses, name)) for losses in (ours, sibling)]
            if not abs(pair[0] - pair[1]) <= (1e-2 if self.dtype else 1e-4) * abs(pair[1]):
                raise ValueError(f'{self.name}: {name} is {pair[0]} in ours and {pair[1]} in {self.sibling}')

    def work(self, ours: Callable[[], Losses]) -> Work:
        """Its convolutions and products of matrices, as torch counts them."""
        return Work(flops=count_flops(ours))


def _total(losses: Losses, name: str) -> Tensor:
    value = losses[name]
    return (torch.stack(list(value)).sum() if isinstance(value, list | tuple) else value.sum()).detach()


def _classes(model: Any) -> int:
    heads = model.roi_head.bbox_head if hasattr(model, 'roi_head') else model.bbox_head
    head: Any = heads[0] if isinstance(heads, nn.ModuleList) else heads
    return head.num_classes


RPN = ('loss_rpn_cls', 'loss_rpn_bbox')
RCNN = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
RELATION = {
    'model.roi_head.type': 'RelationRoIHead',
    'model.roi_head.bbox_head.type': 'RelationBBoxHead',
    'model.roi_head.bbox_head.num_shared_fcs': 2,
    'model.roi_head.bbox_head.fusion': 'concat',
    'model.roi_head.bbox_head.relations': [dict(type='GeometryAttentionRelation', keys='nongt')],
}
FAST = {'model.roi_head.bbox_roi_extractor.type': 'FastRoIExtractor'}
FACE = 'mmdet_ext::retina_face/retina-face_r50_fpn-ssh_4xb8-100e_wider-face.py'
PLAIN_FPN = dict(_delete_=True, type='FPN', in_channels=[512, 1024, 2048], out_channels=256, num_outs=3)
# The targets: a relation alone costs a plain R-CNN 5 % at most, and with what this package has for CPUs nothing.
TRAINING_STEP_CASES = (
    TrainingStepCase(
        'relation-step', 'Faster R-CNN R50-FPN with a geometry attention', RCNN, RCNN, 'plain Faster R-CNN',
        speed=1 / 1.05, same=RPN, options=RELATION,
    ),
    TrainingStepCase(
        'relation-step-fast', 'relation-step with FastRoIExtractor and ChannelsLastHook', RCNN, RCNN,
        'plain Faster R-CNN', speed=1.0, same=RPN, channels_last=True,
        options={**RELATION, **FAST},
    ),
    TrainingStepCase(
        'mask-step', 'Mask R-CNN R50-FPN with a geometry attention',
        'mmdet_ext::relation_rcnn/geometry-attention-mask-rcnn_r50_fpn_1x_coco.py',
        'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py', 'plain Mask R-CNN', same=RPN,
    ),
    TrainingStepCase(
        'cascade-step', 'Cascade Mask R-CNN R50-FPN with geometry attentions',
        'mmdet_ext::relation_rcnn/geometry-attention-cascade-mask-rcnn_r50_fpn_1x_coco.py',
        'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py', 'plain Cascade Mask R-CNN', same=RPN,
    ),
    TrainingStepCase(
        'ciou-step', 'Faster R-CNN R50-FPN with CIoU', 'mmdet_ext::ciou/faster-rcnn_r50_fpn_ciou-1x_coco.py',
        'mmdet::faster_rcnn/faster-rcnn_r50_fpn_ciou_1x_coco.py', "that with mmdet's CIoULoss", same=RPN,
    ),
    TrainingStepCase(
        'ghm-step', 'RetinaNet R50-FPN with GHM of each level', 'mmdet_ext::ghm/retinanet_r50_fpn_ghm-level-1x_coco.py',
        'mmdet::ghm/retinanet_r50_fpn_ghm-1x_coco.py', "that with mmdet's GHM",
    ),
    TrainingStepCase(
        'single-shot-step', 'single-shot head on R50-FPN', 'mmdet_ext::single_shot/single-shot_r50_fpn_1x_coco.py',
        'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 'RetinaNet',
    ),
    TrainingStepCase(
        'yolo-step', 'YOLO with IoU, DarkNet-53', 'mmdet_ext::yolo_iou/yolo-iou_d53_8xb8-ms-608-102e_coco.py',
        'mmdet::yolo/yolov3_d53_8xb8-ms-608-273e_coco.py', 'YOLOv3', size=(608, 608),
    ),
    TrainingStepCase(
        'face-step', 'RetinaFace R50-FPN-SSH with landmarks',
        FACE, 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', 'RetinaNet of one class', size=(640, 640),
        stock_options={'model.bbox_head.num_classes': 1},
    ),
    TrainingStepCase(
        'ssh-step', 'RetinaFace R50 with FPN-SSH', FACE, FACE, "that with mmdet's FPN", size=(640, 640),
        stock_options={'model.neck': PLAIN_FPN},
    ),
)  # fmt: skip
# mmcv has no RoIAlign of bfloat16: there both sides take ours.
GPU_STEP_CASES = tuple(
    TrainingStepCase(
        f'relation-step-{batch}-{kind}', 'Faster R-CNN R50-FPN with a geometry attention', RCNN, RCNN,
        'plain Faster R-CNN', same=RPN, options={**RELATION, **extractor}, stock_options=extractor, batch=batch,
        dtype=dtype, repeats=50,
    )
    for batch in (1, 8)
    for kind, dtype, extractor in (('fp32', None, {}), ('bf16', torch.bfloat16, FAST))
)  # fmt: skip
