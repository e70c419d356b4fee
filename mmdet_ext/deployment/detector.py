"""A detector as one function of image tensors, from raw pixels to detections: what is exported."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import RetinaHead, RPNHead, SSDHead, YOLOV3Head
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import CascadeRoIHead, StandardRoIHead
from mmdet.models.roi_heads.bbox_heads import BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from mmdet_ext.models.dense_heads import RetinaFaceHead, SingleShotHead, YOLOIoUHead
from mmdet_ext.models.relations import Parts
from mmdet_ext.models.roi_heads import RelationCascadeRoIHead, RelationRoIHead
from mmdet_ext.models.roi_heads.bbox_heads import RelationBBoxHead
from mmdet_ext.models.roi_heads.relation_context import wants_parts
from mmdet_ext.models.roi_heads.roi_extractors import FastRoIExtractor

from .candidates import ABSENT, check_nms
from .dense import dense_detections
from .two_stage import two_stage_detections

DENSE_HEADS = (SingleShotHead, RetinaFaceHead, YOLOIoUHead, RetinaHead, SSDHead, YOLOV3Head)
ROI_HEADS = (RelationRoIHead, RelationCascadeRoIHead, StandardRoIHead, CascadeRoIHead)
BOX_HEADS = (RelationBBoxHead, BBoxHead, ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead)


class Detections(NamedTuple):
    """K rows of each of B images, by falling score.

    boxes: (B, K, 4) xyxy in pixels of the images that were given.
    scores: (B, K), 0 where a row holds nothing.
    labels: (B, K) int64, -1 where a row holds nothing.
    keypoints: (B, K, L, 2) x and y in the same pixels, or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    keypoints: Tensor | None


class PlainDetections(NamedTuple):
    """n detections of all images, those of an image together and by falling score.

    boxes: (n, 4) xyxy in pixels of the images that were given.
    scores: (n,).
    labels: (n,) int64.
    image: (n,) int64, which image of the batch.
    keypoints: (n, L, 2), or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    image: Tensor
    keypoints: Tensor | None


def _names(kinds: tuple[type, ...]) -> str:
    return ', '.join(kind.__name__ for kind in kinds)


def check_exportable(model: nn.Module) -> None:
    """Raise a `ValueError` that says what exports unless this detector does.

    Heads are compared by type: a subclass may predict in its own way, and would be exported wrongly.
    """
    exports = (
        f'what exports are one-stage detectors with one of {_names(DENSE_HEADS)}, and Faster or Cascade R-CNN '
        f'with {_names(ROI_HEADS)} and one of the box heads {_names(BOX_HEADS)}'
    )
    name = type(model).__name__
    foreign = {type(module).__name__ for module in model.modules() if type(module).__module__.startswith('mmcv.ops')}
    if foreign - {'RoIAlign'}:
        raise ValueError(
            f'{name}: {", ".join(sorted(foreign - {"RoIAlign"}))} of mmcv.ops cannot be exported, ONNX has no such '
            f'operator; {exports}'
        )
    rpn_head = getattr(model, 'rpn_head', None)
    if isinstance(model, TwoStageDetector) and type(rpn_head) is RPNHead and type(model.roi_head) in ROI_HEADS:
        _check_roi_head(model.roi_head, name, exports)
        check_nms(model.test_cfg.rpn.nms, f'{name}, test_cfg.rpn')
        check_nms(model.test_cfg.rcnn.nms, f'{name}, test_cfg.rcnn')
        if model.test_cfg.rpn.get('max_per_img', 0) <= 0:
            raise ValueError(f'{name}: the export needs test_cfg.rpn.max_per_img, the number of proposals per image')
        return
    if isinstance(model, SingleStageDetector) and type(model.bbox_head) in DENSE_HEADS:
        if model.bbox_head.test_cfg is None:
            raise ValueError(f'{name}: the export needs test_cfg, such as dict(score_thr=0.05, nms=..., max_per_img=1)')
        if getattr(getattr(model.bbox_head, 'loss_cls', None), 'custom_cls_channels', False):
            raise ValueError(f'{name}: loss_cls of the head has scores of its own, which cannot be exported')
        check_nms(model.bbox_head.test_cfg.get('nms'), f'{name}, test_cfg')
        return
    heads = [getattr(model, part) for part in ('bbox_head', 'rpn_head', 'roi_head') if hasattr(model, part)]
    raise ValueError(f'{name} with {_names(tuple(map(type, heads))) or "no head"} cannot be exported; {exports}')


def _box_heads(roi_head: Any) -> list[Any]:
    """The box head of every stage."""
    return list(roi_head.bbox_head) if isinstance(roi_head, CascadeRoIHead) else [roi_head.bbox_head]


def _check_roi_head(roi_head: Any, name: str, exports: str) -> None:
    for part, kinds in (('bbox_head', BOX_HEADS), ('bbox_roi_extractor', (SingleRoIExtractor, FastRoIExtractor))):
        built: Any = getattr(roi_head, part, None)
        for module in built if isinstance(built, nn.ModuleList) else [built]:
            if type(module) not in kinds:
                raise ValueError(f'{name} with {part} {type(module).__name__} cannot be exported; {exports}')
            # A box head has no such layers.
            layer = getattr(module, 'roi_layers', [None])[0]
            if getattr(layer, 'pool_mode', 'avg') != 'avg':
                raise ValueError(
                    f"{name}: {layer} cannot be exported, only RoIAlign with pool_mode='avg' has an equal in ONNX"
                )
    if roi_head.with_mask:
        raise ValueError(
            f'{name}: the mask branch cannot be exported; for the boxes alone leave out mask_head and '
            f'mask_roi_extractor of roi_head (--cfg-options model.roi_head.mask_head=None '
            f'model.roi_head.mask_roi_extractor=None); {exports}'
        )
    if any(getattr(head.loss_cls, 'custom_activation', False) for head in _box_heads(roi_head)):
        raise ValueError(f'{name}: loss_cls of the box head has scores of its own, which cannot be exported')


class DeployedDetector(nn.Module):
    """From raw images to detections, without data samples, masks and lists.

    Inputs are images as the test pipeline of the config packs them: loaded and resized, channels as loaded, neither
    normalised nor padded. Normalisation and padding to the divisor of the data preprocessor are part of it. All images
    of a batch have one size, to which boxes are clipped.

    Args:
        model: the detector, in evaluation mode.

    Attributes:
        with_parts: whether there are the second and third input, the boxes of anatomy parts.
        part_names: their names in the order of the inputs.
        num_keypoints: landmarks of a detection, or 0.

    Raises:
        ValueError: the detector cannot be exported.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        check_exportable(model)
        self.model = model.eval()
        self.two_stage = isinstance(model, TwoStageDetector)
        heads = _box_heads(model.roi_head) if self.two_stage else [model.bbox_head]
        self.part_names = _part_names(heads)
        self.with_parts = any(map(wants_parts, heads))
        self.num_keypoints = int(getattr(heads[0], 'num_landmarks', 0))

    def normalize(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) raw -> as the backbone reads them, (B, 3, H', W')."""
        prep = self.model.data_preprocessor
        if getattr(prep, '_channel_conversion', False):
            images = images.flip(1)
        images = images.float()
        if getattr(prep, '_enable_normalize', False):
            images = (images - prep.mean) / prep.std
        divisor = getattr(prep, 'pad_size_divisor', 1)
        if divisor > 1:
            below, right = -images.shape[2] % divisor, -images.shape[3] % divisor
            images = F.pad(images, (0, right, 0, below), value=prep.pad_value)
        return images

    def forward(self, images: Tensor, part_boxes: Tensor | None = None, part_valid: Tensor | None = None) -> Detections:
        """Detections of every image.

        Args:
            images: (B, 3, H, W) uint8 or float, 0 to 255, in the order of channels of the test pipeline (BGR).
            part_boxes: (B, P, 4) xyxy in pixels of `images`, in the order of `part_names`, where `with_parts`.
            part_valid: (B, P) bool, False where an image lacks the part.
        """
        height, width = images.shape[2:]
        features = self.model.extract_feat(self.normalize(images))
        if self.two_stage:
            parts = None
            if self.with_parts:
                if part_boxes is None or part_valid is None:
                    raise ValueError(f'the detector needs part_boxes and part_valid of the parts {self.part_names}')
                boxes = torch.where(part_valid[..., None], part_boxes, 0)
                parts = Parts(boxes=boxes, valid=part_valid, names=self.part_names)
            found = two_stage_detections(self.model, features, height, width, parts)
        else:
            found = dense_detections(self.model.bbox_head, features, height, width)
        there = found.scores > ABSENT
        return Detections(
            found.boxes,
            torch.where(there, found.scores, 0),
            torch.where(there, found.labels, -1),
            found.extras.get('keypoints'),
        )


def _part_names(heads: Sequence[nn.Module]) -> tuple[str, ...]:
    """Names of the parts that any relation of the heads reads, in the order of their first appearance."""
    names = [name for head in heads for module in head.modules() for name in getattr(module, 'part_names', ())]
    return tuple(dict.fromkeys(names))


class PlainDetector(nn.Module):
    """A :class:`DeployedDetector` whose output holds detections only, as many as there are.

    Args:
        detector: the detector.
    """

    def __init__(self, detector: DeployedDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(
        self, images: Tensor, part_boxes: Tensor | None = None, part_valid: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """`PlainDetections` without what is None; see :class:`DeployedDetector` for the arguments."""
        found = self.detector(images, part_boxes, part_valid)
        image, row = (found.labels >= 0).nonzero(as_tuple=True)
        outputs = found.boxes[image, row], found.scores[image, row], found.labels[image, row], image
        return outputs if found.keypoints is None else (*outputs, found.keypoints[image, row])
