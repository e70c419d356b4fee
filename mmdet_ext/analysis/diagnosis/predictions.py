"""What a detector finds in an image: proposals, detections, and detections before the test config cuts them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead, SSDHead
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmdet_ext.evaluation.objects import Objects

from .image_losses import replaced

RAW = dict(score_thr=0.001, conf_thr=0.001, max_per_img=1000, nms=dict(type='nms', iou_threshold=0.95))
"""What the test config of the last head is for raw detections; its other options stay."""


@dataclass(frozen=True)
class Found:
    """Results of one image in pixels of the image file, best first; see `ImageRecord`."""

    proposals: Objects | None
    detections: Objects
    raw: Objects
    limits: tuple[str, ...] = ()


@torch.no_grad()
def predict(model: Any, inputs: Tensor, samples: SampleList, raw: bool = True) -> Found:
    """Find objects in one image, as the config says and with hardly any cut; masks are left out.

    Args:
        model: Detector in evaluation mode.
        inputs: (1, c, h, w) as the data preprocessor gives it.
        samples: The image's sample; not changed.
        raw: Also what the config cuts; else raw detections are the detections.
    """
    sample = DetDataSample(metainfo=samples[0].metainfo)
    for name in ('parts', 'proposals'):  # what a head reads beside the image
        if name in samples[0]:
            setattr(sample, name, getattr(samples[0], name))
    proposals: list[InstanceData] = []
    with contextlib.ExitStack() as stack:
        roi_head = getattr(model, 'roi_head', None)
        if roi_head is not None:
            stack.enter_context(without_masks(roi_head))
        if roi_head is not None and getattr(model, 'rpn_head', None) is not None:
            stack.enter_context(_kept_proposals(model.rpn_head, proposals))
        detections = _run(model, inputs, sample)
        last = roi_head if roi_head is not None else getattr(model, 'bbox_head', None)
        uncut, limits = detections, []
        if raw and (test_cfg := getattr(last, 'test_cfg', None)) and 'nms' in test_cfg:
            with _test_cfg(last, ConfigDict({**test_cfg, **RAW})):
                uncut = _run(model, inputs, sample)
        elif raw:
            limits.append(
                f'{type(last or model).__name__} has no `nms` in its test_cfg: raw detections are the detections'
            )
    scale = torch.tensor(sample.metainfo.get('scale_factor', (1.0, 1.0))[:2], dtype=torch.float32).repeat(2)
    given = _objects(proposals[0], scale, plain=True) if proposals else None
    if isinstance(getattr(model, 'bbox_head', None), RPNHead):
        given = detections
    return Found(given, detections, uncut, tuple(limits))


def _run(model: Any, inputs: Tensor, sample: DetDataSample) -> Objects:
    with contextlib.ExitStack() as stack:
        head = getattr(model, 'bbox_head', None)
        if isinstance(head, SSDHead) and not hasattr(head, 'loss_cls'):
            # mmdet 3.3 asks it for its loss, which it has not, and so cannot predict.
            stack.enter_context(replaced(head, loss_cls=None))
        results = model.predict(inputs, [sample.clone()], rescale=True)
    return _objects(results[0].pred_instances, torch.ones(4))


def _objects(instances: InstanceData, scale: Tensor, plain: bool = False) -> Objects:
    """Instances on the host, best first; `plain`: their labels do not count."""
    boxes = get_box_tensor(instances.bboxes).float().cpu() / scale
    scores = instances.scores.float().cpu()
    labels = torch.zeros(len(boxes), dtype=torch.long) if plain else instances.labels.cpu()
    order = scores.argsort(descending=True, stable=True)
    return Objects(boxes[order].numpy(), labels[order].numpy(), scores[order].numpy())


@contextlib.contextmanager
def without_masks(roi_head: Any) -> Iterator[None]:
    """A RoI head predicts boxes alone, which is much faster where there are many."""
    mask_head = getattr(roi_head, 'mask_head', None)
    if mask_head is not None:
        roi_head.mask_head = None
    try:
        yield
    finally:
        if mask_head is not None:
            roi_head.mask_head = mask_head


@contextlib.contextmanager
def _test_cfg(head: Any, cfg: ConfigDict) -> Iterator[None]:
    before = head.test_cfg
    head.test_cfg = cfg
    try:
        yield
    finally:
        head.test_cfg = before


@contextlib.contextmanager
def _kept_proposals(rpn_head: Any, kept: list[InstanceData]) -> Iterator[None]:
    """The RPN runs once for an image; what it gave is put into `kept`, in pixels of the input."""
    method = rpn_head.predict

    def run(*args: Any, **kwargs: Any) -> Any:
        if not kept:
            kept.extend(method(*args, **kwargs))
        return [instances.clone() for instances in kept]

    with replaced(rpn_head, predict=run):
        yield
