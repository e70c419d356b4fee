"""Geometry of pairs of boxes, in closed form and against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import geometry
from mmdet_ext.models.relations.geometry import box_geometry, geometry_bias, pairwise_iou, sine_embedding

from ..relation_case import random_boxes

SHAPE = (80, 100)
QUERY, KEY = torch.tensor([[10.0, 10, 30, 20]]), torch.tensor([[20.0, 40, 24, 80]])


class TestBoxGeometry:
    def test_hu_closed_form(self):
        # Centres (20, 15) and (22, 60), sizes (20, 10) and (4, 40).
        expected = torch.tensor([2 / 20, 45 / 10, 20 / 4, 10 / 40]).log()
        assert_close(box_geometry(QUERY, KEY)[0, 0], expected)

    def test_log1p_closed_form(self):
        expected = torch.tensor([math.log1p(2 / 20), math.log1p(45 / 10), math.log(20 / 4), math.log(10 / 40)])
        assert_close(box_geometry(QUERY, KEY, 'log1p')[0, 0], expected)

    def test_shift_has_a_floor_or_none(self):
        assert_close(box_geometry(QUERY, QUERY)[0, 0], torch.tensor([math.log(1e-3), math.log(1e-3), 0, 0]))
        assert_close(box_geometry(QUERY, QUERY, 'log1p')[0, 0], torch.zeros(4))

    def test_width_goes_with_x(self):
        swapped = [2, 3]
        flipped = box_geometry(QUERY[:, [1, 0, 3, 2]], KEY[:, [1, 0, 3, 2]])[0, 0]
        assert_close(flipped[[1, 0, *reversed(swapped)]], box_geometry(QUERY, KEY)[0, 0])

    @given(
        scale=st.floats(0.1, 50), x=st.floats(-500, 500), y=st.floats(-500, 500), kind=st.sampled_from(['hu', 'log1p'])
    )
    @settings(max_examples=30, deadline=None)
    def test_scale_and_place_do_not_matter(self, scale, x, y, kind):
        boxes = torch.tensor([[10.0, 10, 30, 20], [20, 40, 24, 80], [1, 2, 90, 70]], dtype=torch.float64)
        moved = boxes * scale + torch.tensor([x, y, x, y], dtype=torch.float64)
        assert_close(box_geometry(moved, moved, kind), box_geometry(boxes, boxes, kind), rtol=1e-6, atol=1e-6)

    def test_types(self):
        assert box_geometry(QUERY.half(), KEY.half()).dtype == torch.float32
        assert box_geometry(QUERY.double(), KEY.double()).dtype == torch.float64

    def test_batch_and_sizes(self):
        assert box_geometry(torch.rand(2, 3, 4), torch.rand(2, 5, 4)).shape == (2, 3, 5, 4)
        assert box_geometry(torch.rand(0, 4), torch.rand(5, 4)).shape == (0, 5, 4)


@pytest.mark.parametrize('dim', [8, 64])
@pytest.mark.parametrize('wave_len', [1000.0, 20.0])
def test_sine_embedding_equals_a_loop(dim, wave_len):
    numbers = torch.randn(3, 4, dtype=torch.float64) * 3
    expected = torch.empty(3, dim, dtype=torch.float64)
    for row in range(3):
        column = 0
        for number in numbers[row].tolist():
            angles = [100 * number / wave_len ** (k / (dim // 8)) for k in range(dim // 8)]
            for value in [math.sin(a) for a in angles] + [math.cos(a) for a in angles]:
                expected[row, column] = value
                column += 1
        assert column == dim
    assert_close(sine_embedding(numbers, dim, wave_len), expected, rtol=1e-9, atol=1e-9)


class TestGeometryBias:
    def inputs(self, dtype=torch.float64, queries=7, keys=5, dim=16, heads=3):
        boxes = [torch.stack([random_boxes(number, SHAPE) for _ in range(2)]).to(dtype) for number in (queries, keys)]
        weight = torch.randn(heads, dim, dtype=dtype, requires_grad=True)
        return [*boxes, weight, torch.randn(heads, dtype=dtype, requires_grad=True)]

    def textbook(self, queries, keys, weight, bias, kind):
        embedding = sine_embedding(box_geometry(queries, keys, kind), weight.shape[1])
        return torch.nn.functional.linear(embedding, weight, bias)

    @pytest.mark.parametrize('kind', geometry.GEOMETRIES)
    def test_values_and_gradients_equal_the_textbook(self, kind):
        inputs = self.inputs()
        ours, plain = geometry_bias(*inputs, kind), self.textbook(*inputs, kind)
        assert_close(ours, plain)
        upstream = torch.randn_like(plain)
        ours_grad = torch.autograd.grad(ours, inputs[2:], upstream)
        assert_close(ours_grad, torch.autograd.grad(plain, inputs[2:], upstream))

    def test_gradcheck(self):
        queries, keys, weight, bias = self.inputs(queries=3, keys=2, dim=8)
        assert torch.autograd.gradcheck(lambda *learnt: geometry_bias(queries, keys, *learnt), (weight, bias))

    def test_only_weights_get_gradients(self):
        queries, keys, weight, bias = self.inputs()
        geometry_bias(queries.requires_grad_(), keys, weight, bias).sum().backward()
        assert queries.grad is None
        assert weight.grad is not None

    def test_no_box(self):
        inputs = self.inputs(queries=0, keys=0)
        geometry_bias(*inputs).sum().backward()
        assert not inputs[2].grad.any()

    def test_the_embedding_is_never_kept(self):
        inputs = self.inputs(torch.float32, queries=30, keys=30, dim=64, heads=2)
        saved = []

        def pack(tensor):
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            self.textbook(*inputs, 'hu')
            textbook, saved[:] = max(saved), []
            geometry_bias(*inputs)
        assert textbook == 2 * 30 * 30 * 64
        assert max(saved, default=0) <= 2 * 30 * 4


class TestPairwiseIoU:
    def test_closed_form(self):
        boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 5]])
        expected = torch.tensor([[1, 1 / 3, 0, 0.5], [1 / 3, 1, 0, 0.2], [0, 0, 1, 0], [0.5, 0.2, 0, 1]])
        assert_close(pairwise_iou(boxes), expected)

    def test_boxes_without_area_are_themselves(self):
        boxes = torch.tensor([[5.0, 5, 5, 5], [9, 9, 2, 2], [float('nan')] * 4, [0, 0, 10, 10]])
        assert_close(pairwise_iou(boxes), torch.eye(4))

    def test_equals_mmcv(self):
        bbox_overlaps = pytest.importorskip('mmcv.ops').bbox_overlaps
        boxes = torch.stack([random_boxes(20, SHAPE), random_boxes(20, SHAPE)]).float()
        assert_close(pairwise_iou(boxes)[1], bbox_overlaps(boxes[1], boxes[1]))

    def test_types(self):
        assert pairwise_iou(torch.rand(2, 4).half()).dtype == torch.float32
        assert pairwise_iou(torch.rand(2, 4).double()).dtype == torch.float64
