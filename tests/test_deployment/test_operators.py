from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from mmcv.ops import batched_nms, roi_align
from torch import Tensor, nn

from mmdet_ext.deployment.operators import onnx_translations

OPSETS = [18, 20]


class Pool(nn.Module):
    def __init__(self, sampling_ratio: int, aligned: bool) -> None:
        super().__init__()
        self.options = ([3, 2], 0.25, sampling_ratio, aligned)

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        return torch.ops.mmdet_ext.roi_align(features, rois, *self.options)


class Suppress(nn.Module):
    def __init__(self, iou_thr: float, score_thr: float, max_num: int) -> None:
        super().__init__()
        self.options = (iou_thr, score_thr, max_num)

    def forward(self, boxes: Tensor, scores: Tensor) -> Tensor:
        return torch.ops.mmdet_ext.nms_mask(boxes, scores, *self.options)


def through_onnx(module: nn.Module, folder: Path, *inputs: Tensor, opset: int = 18) -> tuple[Any, list[str]]:
    file = folder / 'op.onnx'
    program = torch.onnx.export(
        torch.export.export(module, inputs),
        opset_version=opset,
        custom_translation_table=onnx_translations(opset),
        dynamo=True,
        optimize=False,
        verbose=False,
    )
    assert program is not None
    program.save(file)
    session = onnxruntime.InferenceSession(str(file), providers=['CPUExecutionProvider'])
    names = [value.name for value in session.get_inputs()]
    output = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})[0]
    return output, [node.op_type for node in program.model.graph]


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_is_the_standard_operator(aligned: bool, sampling_ratio: int, tmp_path: Path) -> None:
    """mmcv's own symbolic moves the RoIs twice from opset 16 on: then this is wrong by half a cell."""
    torch.manual_seed(0)
    features = torch.randn(2, 4, 16, 20)
    # Inside, across the border, outside, a line, a point.
    boxes = torch.tensor([[4, 8, 40, 60], [-20, -9, 30, 12], [70, 50, 95, 99], [7, 7, 7, 30], [9, 9, 9, 9.0]])
    rois = torch.cat([torch.tensor([[0.0], [1], [1], [0], [1]]), boxes], dim=1)
    reference = roi_align(features, rois, (3, 2), 0.25, sampling_ratio, 'avg', aligned)
    module = Pool(sampling_ratio, aligned)
    torch.testing.assert_close(module(features, rois), reference, rtol=0, atol=0)
    output, kinds = through_onnx(module, tmp_path, features, rois)
    torch.testing.assert_close(torch.from_numpy(output), reference, rtol=1e-5, atol=1e-5)
    assert kinds.count('RoiAlign') == 1
    shifted = roi_align(features, rois, (3, 2), 0.25, sampling_ratio, 'avg', not aligned)
    assert (shifted - reference).abs().max() > 0.1


def test_roi_align_without_rois(tmp_path: Path) -> None:
    features, rois = torch.randn(1, 4, 8, 8), torch.zeros(0, 5)
    assert Pool(0, True)(features, rois).shape == (0, 4, 3, 2)


@pytest.mark.parametrize('opset', OPSETS)
def test_nms_is_the_standard_operator(opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    corner = torch.rand(3, 40, 2) * 60
    boxes = torch.cat([corner, corner + torch.rand(3, 40, 2) * 30], dim=-1)
    scores = torch.rand(3, 40)
    scores[1] = -1.0  # an image without candidates
    scores[2, ::2] = 0.1
    module = Suppress(0.3, 0.2, 5)
    expected = torch.zeros_like(scores, dtype=torch.bool)
    for image in range(3):
        rows = (scores[image] > 0.2).nonzero().squeeze(1)
        if len(rows):
            zeros = torch.zeros_like(rows)
            _, kept = batched_nms(boxes[image, rows], scores[image, rows], zeros, dict(type='nms', iou_threshold=0.3))
            expected[image, rows[kept[:5]]] = True
    assert expected.sum(1).tolist() == [5, 0, 5]
    assert torch.equal(module(boxes, scores), expected)
    output, kinds = through_onnx(module, tmp_path, boxes, scores, opset=opset)
    assert torch.equal(torch.from_numpy(output), expected)
    assert kinds.count('NonMaxSuppression') == 1


def test_touching_boxes_at_the_threshold(tmp_path: Path) -> None:
    """IoU exactly at the threshold suppresses on neither side."""
    boxes = torch.tensor([[[0, 0, 10, 10], [0, 0, 10, 5], [5, 5, 5, 5], [5, 5, 5, 5.0]]])
    scores = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
    module = Suppress(0.5, 0.0, 9)
    assert module(boxes, scores).tolist() == [[True] * 4]
    output, _ = through_onnx(module, tmp_path, boxes, scores)
    assert output.tolist() == [[True] * 4]


def test_shapes_are_known_without_data() -> None:
    with torch.device('meta'):
        assert Pool(0, True)(torch.empty(2, 4, 8, 8), torch.empty(7, 5)).shape == (7, 4, 3, 2)
        mask = Suppress(0.5, 0.0, 9)(torch.empty(2, 6, 4), torch.empty(2, 6))
    assert (mask.shape, mask.dtype) == ((2, 6), torch.bool)


def test_operators_pass_torchs_own_check() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [1, 1, 9, 9]]])
    torch.library.opcheck(torch.ops.mmdet_ext.nms_mask.default, (boxes, torch.rand(1, 2), 0.5, 0.0, 3))
    args = (torch.randn(1, 2, 8, 8), torch.tensor([[0.0, 1, 1, 7, 7]]), [2, 2], 0.5, 0, True)
    torch.library.opcheck(torch.ops.mmdet_ext.roi_align.default, args)


def test_old_opset_is_refused() -> None:
    with pytest.raises(ValueError, match='opset 17 is too old, 18 is the first'):
        onnx_translations(17)


def test_without_onnxscript(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__('sys').modules, 'onnxscript', None)
    with pytest.raises(ImportError, match=r'needs onnxscript: pip install -r requirements/optional.txt'):
        onnx_translations(18)
