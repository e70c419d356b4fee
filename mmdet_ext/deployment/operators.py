"""RoIAlign and NMS, the two operators of a detector that torch does not have, and what they are in ONNX.

Both are operators of torch (`torch.ops.mmdet_ext`) around mmcv's, so that `torch.export` and `torch.compile` can trace
them, and neither has an output whose size depends on data. In ONNX they become the standard `RoiAlign` and
`NonMaxSuppression`, which every runtime knows. mmcv's own translation of RoIAlign moves the boxes of `aligned=True` by
half a pixel and then asks for an operator that, from opset 16 on, moves them again; it is not used.
"""

from collections.abc import Callable
from typing import Any

import torch
from mmcv.ops import nms, roi_align
from torch import Tensor

# Lowest opset: 16 gave `RoiAlign` its coordinate_transformation_mode; torch's exporter translates to 18 and later.
MIN_OPSET = 18


@torch.library.custom_op('mmdet_ext::roi_align', mutates_args=())
def roi_align_op(
    features: Tensor, rois: Tensor, output_size: list[int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """Mean over the bins of every RoI (Mask R-CNN, arXiv:1703.06870, section 3).

    Args:
        features: (B, c, H, W).
        rois: (N, 5) `[batch_index, x1, y1, x2, y2]`.
        output_size: bins along y and x.
        spatial_scale: cells of the map per unit of the RoIs.
        sampling_ratio: samples per bin and direction; 0: as many as the bin has cells.
        aligned: whether the middle of a cell lies at half a unit.

    Returns:
        (N, c, *output_size).
    """
    return roi_align(features, rois, tuple(output_size), spatial_scale, sampling_ratio, 'avg', aligned)


@roi_align_op.register_fake
def _(features: Tensor, rois: Tensor, output_size: list[int], *_: Any) -> Tensor:
    return features.new_empty((rois.shape[0], features.shape[1], *output_size))


@torch.library.custom_op('mmdet_ext::nms_mask', mutates_args=())
def nms_mask_op(boxes: Tensor, scores: Tensor, iou_thr: float, score_thr: float, max_num: int) -> Tensor:
    """Which boxes of every image greedy non-maximum suppression keeps.

    Args:
        boxes: (B, M, 4) xyxy.
        scores: (B, M).
        iou_thr: a box whose IoU with a kept one of a higher score is above goes.
        score_thr: boxes whose score is not above take no part.
        max_num: most boxes that are kept of an image, those of the highest scores.

    Returns:
        (B, M) bool.
    """
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for image in range(len(boxes)):
        rows = (scores[image] > score_thr).nonzero().squeeze(1)
        if len(rows):
            _, best = nms(boxes[image, rows], scores[image, rows], float(iou_thr))
            kept[image, rows[best[:max_num]]] = True
    return kept


@nms_mask_op.register_fake
def _(boxes: Tensor, scores: Tensor, *_: Any) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def onnx_translations(opset: int) -> dict[Callable, Callable]:
    """The table that `torch.onnx.export` takes as `custom_translation_table`.

    Raises:
        ValueError: `opset` is too old.
        ImportError: onnxscript is not installed.
    """
    if opset < MIN_OPSET:
        raise ValueError(f'opset {opset} is too old, {MIN_OPSET} is the first that is exported to')
    try:
        import onnxscript
    except ImportError as error:
        raise ImportError(
            'the export to ONNX needs onnxscript: pip install -r requirements/optional.txt installs it'
        ) from error
    op: Any = getattr(onnxscript, f'opset{opset}')

    def onnx_roi_align(
        features: Any, rois: Any, output_size: list[int], spatial_scale: float, sampling_ratio: int, aligned: bool
    ) -> Any:
        image = op.Cast(op.Squeeze(op.Slice(rois, [0], [1], [1]), [1]), to=7)
        return op.RoiAlign(
            features,
            op.Slice(rois, [1], [5], [1]),
            image,
            coordinate_transformation_mode='half_pixel' if aligned else 'output_half_pixel',
            mode='avg',
            output_height=output_size[0],
            output_width=output_size[1],
            sampling_ratio=sampling_ratio,
            spatial_scale=spatial_scale,
        )

    def onnx_nms_mask(boxes: Any, scores: Any, iou_thr: float, score_thr: float, max_num: int) -> Any:
        # Rows of image, class and box; classes are told apart before, so there is one.
        found = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, [1]),
            op.Constant(value_ints=[max_num]),
            op.Constant(value_floats=[iou_thr]),
            op.Constant(value_floats=[score_thr]),
        )
        places = op.Gather(found, op.Constant(value_ints=[0, 2]), axis=1)
        hits = op.Expand(op.Constant(value_ints=[1]), op.Shape(places, start=0, end=1))
        none = op.Expand(op.Constant(value_int=0), op.Shape(scores))
        return op.Cast(op.ScatterND(none, places, hits), to=9)

    return {
        torch.ops.mmdet_ext.roi_align.default: onnx_roi_align,
        torch.ops.mmdet_ext.nms_mask.default: onnx_nms_mask,
    }
