"""Polar offsets, kernels over them and their normalisation: closed forms, and nothing that is not finite."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations.spatial_kernels import (
    KERNELS,
    NoKernel,
    PolarGaussians,
    PolarReLUs,
    build_kernel,
    keep_largest,
    kernel_parameters,
    log_shares,
    neighbour_weights,
    polar_offsets,
    shares,
    wrap_angle,
)

INF = float('inf')


def box(x, y, w=10.0, h=6.0):
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def random_offsets(batch=2, number=4, dtype=torch.float64):
    boxes = torch.rand(batch, number, 2, dtype=dtype) * 80
    return polar_offsets(torch.cat([boxes, boxes + 9], dim=-1), torch.tensor([[100, 90]] * batch))


class TestPolarOffsets:
    def test_the_four_directions(self):
        boxes = torch.tensor([[box(50, 50), box(90, 50), box(50, 70), box(10, 50), box(50, 30)]])
        offsets = polar_offsets(boxes, torch.tensor([[100, 200]]))
        expected = [[0, 0], [0.2, 0], [0.2, math.pi / 2], [0.2, math.pi], [0.2, -math.pi / 2]]
        assert_close(offsets[0, 0], torch.tensor(expected))
        # Seen from the other end: the same distance, the opposite direction.
        assert_close(offsets[0, 1, 0], torch.tensor([0.2, math.pi]))

    def test_x_is_divided_by_the_width_and_y_by_the_height(self):
        boxes = torch.tensor([[box(10, 10), box(40, 50)]], dtype=torch.float64)
        offsets = polar_offsets(boxes, torch.tensor([[80, 120]]))
        assert offsets[0, 0, 1].tolist() == pytest.approx([math.hypot(30 / 120, 40 / 80), math.atan2(0.5, 0.25)])
        assert not torch.allclose(offsets, polar_offsets(boxes, torch.tensor([[120, 80]])))

    @given(st.floats(0.05, 20), st.floats(0.05, 20))
    @settings(max_examples=20, deadline=None)
    def test_an_image_scaled_with_its_boxes_is_the_same_image(self, x, y):
        generator = torch.Generator().manual_seed(0)
        boxes = torch.rand(1, 5, 4, dtype=torch.float64, generator=generator) * 60
        scale = torch.tensor([x, y, x, y], dtype=torch.float64)
        shape = torch.tensor([[90.0, 140.0]], dtype=torch.float64)
        assert_close(polar_offsets(boxes * scale, shape * scale[[1, 0]] * 7), polar_offsets(boxes / 7, shape))

    def test_images_have_sizes_of_their_own(self):
        boxes = torch.tensor([[box(10, 10), box(40, 50)]] * 2)
        offsets = polar_offsets(boxes, torch.tensor([[100, 100], [200, 200]]))
        assert_close(offsets[0, ..., 0], 2 * offsets[1, ..., 0])

    def test_the_size_of_a_box_does_not_matter(self):
        small = torch.tensor([[box(10, 10, 0, 0), box(40, 50, 0, 5)]])
        large = torch.tensor([[box(10, 10, 9, 9), box(40, 50, 20, 1)]])
        shape = torch.tensor([[100, 100]])
        assert_close(polar_offsets(small, shape), polar_offsets(large, shape))

    @pytest.mark.parametrize('shift', [0.0, 1e-30, 1e-12, 1e-6, 1.0])
    def test_gradient_where_centres_coincide(self, shift):
        boxes = torch.tensor([[box(10, 10), box(10, 10), box(10 + shift, 10)]], dtype=torch.float64, requires_grad=True)
        offsets = polar_offsets(boxes, torch.tensor([[50, 50]]))
        offsets.sum().backward()
        assert torch.isfinite(boxes.grad).all()
        assert not offsets[0, 0, 1].any()

    def test_gradcheck(self):
        boxes = torch.rand(1, 3, 4, dtype=torch.float64, requires_grad=True)
        shape = torch.tensor([[2, 3]])
        off_diagonal = ~torch.eye(3, dtype=torch.bool)
        assert torch.autograd.gradcheck(lambda x: polar_offsets(x, shape)[:, off_diagonal], (boxes,))

    @pytest.mark.parametrize('value', [float('nan'), INF, -INF, 1e30])
    def test_broken_boxes_and_images_stay_finite(self, value):
        boxes = torch.tensor([[box(10, 10), [value] * 4, [0.0, -INF, INF, INF]]], requires_grad=True)
        for shape in ([[50, 60]], [[0, 0]]):
            offsets = polar_offsets(boxes, torch.tensor(shape))
            assert torch.isfinite(offsets).all()
            offsets.sum().backward()
        assert torch.isfinite(boxes.grad).all()

    def test_half_precision_boxes_are_measured_in_float32(self):
        boxes = torch.tensor([[box(1000, 1000), box(40, 50)]]).half()
        offsets = polar_offsets(boxes, torch.tensor([[1200, 1100]]))
        assert offsets.dtype == torch.float32
        assert_close(offsets, polar_offsets(boxes.double(), torch.tensor([[1200, 1100]])).float())

    @pytest.mark.parametrize('shape', [(0, 0), (0, 3), (2, 0)])
    def test_nothing(self, shape):
        offsets = polar_offsets(torch.zeros(*shape, 4), torch.ones(shape[0], 2))
        assert offsets.shape == (shape[0], shape[1], shape[1], 2)


@given(st.floats(-50, 50))
def test_wrapped_angles_differ_by_whole_turns(angle):
    wrapped = wrap_angle(torch.tensor(angle, dtype=torch.float64)).item()
    assert -math.pi <= wrapped < math.pi + 1e-12
    turns = (wrapped - angle) / (2 * math.pi)
    assert turns == pytest.approx(round(turns), abs=1e-9)


class TestGaussians:
    def test_closed_form(self):
        kernel, offsets = PolarGaussians(3).double(), random_offsets()
        torch.nn.init.normal_(kernel.below)
        log_weights = kernel(offsets)
        assert log_weights.shape == (2, 3, 4, 4)
        for k in range(3):
            rho, theta = offsets[1, 2, 3].tolist()
            turn = (theta - kernel.mean[k, 1].item() + math.pi) % (2 * math.pi) - math.pi
            difference = torch.tensor([rho - kernel.mean[k, 0].item(), turn], dtype=torch.float64)
            expected = -(difference @ kernel.precision()[k] @ difference) / 2
            assert log_weights[1, k, 2, 3].item() == pytest.approx(expected.item())

    def test_the_angle_is_wrapped(self):
        kernel = PolarGaussians(1)
        with torch.no_grad():
            kernel.mean.copy_(torch.tensor([[0.3, math.pi - 0.1]]))
        at = [kernel(torch.tensor([[[[0.3, angle]]]])).item() for angle in (math.pi - 0.3, -math.pi + 0.1)]
        assert at[0] == pytest.approx(at[1], rel=1e-4)
        offsets = random_offsets(dtype=torch.float32)
        before = kernel(offsets)
        with torch.no_grad():
            kernel.mean[:, 1] += 6 * math.pi
        assert_close(kernel(offsets), before, rtol=1e-4, atol=1e-4)

    @given(st.lists(st.floats(-30, 30), min_size=5, max_size=5))
    @settings(max_examples=60, deadline=None)
    def test_precision_is_positive_definite_whatever_the_parameters(self, values):
        kernel = PolarGaussians(1).double()
        with torch.no_grad():
            kernel.mean.copy_(torch.tensor([values[:2]]))
            kernel.raw_diagonal.copy_(torch.tensor([values[2:4]]))
            kernel.below.copy_(torch.tensor(values[4:]))
        precision = kernel.precision()[0]
        assert_close(precision, precision.T)
        # Sylvester: both leading minors are above zero. The determinant of L L^T is the square of that of L.
        assert precision[0, 0] > 0
        assert torch.linalg.cholesky(precision).diagonal().prod() > 0
        # So the weight is never above 1, at the mean it is 1.
        assert (kernel(random_offsets()) <= 0).all()
        assert kernel(kernel.mean[None, None]).item() == pytest.approx(0, abs=1e-12)

    def test_a_density_integrates_to_one(self):
        kernel = PolarGaussians(4, density=True).double()
        with torch.no_grad():
            kernel.mean[:] = 0
            kernel.raw_diagonal += 3 + torch.rand(4, 2)
            kernel.below.copy_(torch.tensor([-2.0, 0, 1, 3]))
        steps = torch.linspace(-math.pi, math.pi, 401, dtype=torch.float64)[:-1]
        grid = torch.stack(torch.meshgrid(steps, steps, indexing='ij'), dim=-1)[None]
        mass = kernel(grid).exp().sum((2, 3)) * (steps[1] - steps[0]) ** 2
        assert_close(mass, torch.ones_like(mass), rtol=1e-6, atol=0)

    def test_starts_broad_and_separable(self):
        kernel = PolarGaussians(100)
        assert not kernel.below.any()
        assert (kernel.mean[:, 0] >= 0).all()
        assert (kernel.mean[:, 0] <= 1).all()
        assert (kernel.mean[:, 1].abs() <= math.pi).all()
        # At the far corner of the image, in the opposite direction, float32 still knows the weight.
        assert kernel(torch.tensor([[[[math.sqrt(2), 0.0]]]])).exp().min() > 1e-12


class TestReLUs:
    def test_closed_form(self):
        kernel = PolarReLUs(2).double()
        with torch.no_grad():
            kernel.weight.copy_(torch.tensor([[1.0, -1], [-5, 0]]))
            kernel.bias.copy_(torch.tensor([0.25, 0]))
        offsets = torch.tensor([[[[0.5, 0.25], [0.1, 2.0], [0.0, 0.0]]]], dtype=torch.float64)
        weights = kernel(offsets).exp()
        assert_close(weights[0, :, 0], torch.tensor([[0.5, 0, 0.25], [0, 0, 0]], dtype=torch.float64))

    def test_starts_above_zero(self):
        corner = torch.tensor([[[[math.sqrt(2), angle]] for angle in (-math.pi, 0.0, math.pi)]])
        assert torch.isfinite(PolarReLUs(200)(corner)).all()

    @pytest.mark.parametrize('bias', [-1.0, 0.0, 1e-30, 1e-10, 1.0])
    def test_gradient_is_finite_around_zero(self, bias):
        kernel = PolarReLUs(1)
        with torch.no_grad():
            kernel.weight.zero_()
            kernel.bias.fill_(bias)
        weights = neighbour_weights(kernel(random_offsets(dtype=torch.float32)), torch.zeros(2, 4, 4), 'neighbours')
        weights.square().sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in kernel.parameters())


def test_no_kernel_weighs_one():
    assert torch.equal(NoKernel()(random_offsets()).exp(), torch.ones(2, 1, 4, 4, dtype=torch.float64))


@pytest.mark.parametrize('kind', KERNELS)
def test_kernels_by_name(kind):
    kernel = build_kernel(kind, 3)
    types = dict(gaussian=PolarGaussians, gaussian_norm=PolarGaussians, relu=PolarReLUs, none=NoKernel)
    assert type(kernel) is types[kind]
    assert getattr(kernel, 'density', False) == (kind == 'gaussian_norm')
    parameters = kernel_parameters(kernel)
    wanted = dict(
        gaussian=dict(mean=(3, 2), precision=(3, 2, 2)),
        gaussian_norm=dict(mean=(3, 2), precision=(3, 2, 2)),
        relu=dict(weight=(3, 2), bias=(3,)),
        none={},
    )
    assert {name: tuple(value.shape) for name, value in parameters.items()} == wanted[kind]
    assert not any(value.requires_grad for value in parameters.values())


@pytest.mark.parametrize('kind', KERNELS)
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_parameters_are_used_in_the_type_of_the_offsets(kind, dtype):
    kernel, offsets = build_kernel(kind, 3), random_offsets(dtype=torch.float32)
    expected = kernel(offsets)
    out = kernel.to(dtype)(offsets)
    assert out.dtype == torch.float32
    assert_close(out, expected, rtol=0.05, atol=0.1)


@pytest.mark.parametrize('kind', ['gaussian', 'gaussian_norm', 'relu'])
def test_gradcheck(kind):
    kernel, offsets = build_kernel(kind, 2).double(), random_offsets(1, 3)
    if kind != 'relu':
        torch.nn.init.normal_(kernel.below)
    names, values = zip(*kernel.named_parameters(), strict=True)

    def run(*values):
        return torch.func.functional_call(kernel, dict(zip(names, values, strict=True)), (offsets,))

    assert torch.autograd.gradcheck(run, tuple(value.detach().requires_grad_() for value in values))


class TestShares:
    rows = torch.tensor([[1.0, 2, -INF], [-INF, -INF, -INF], [-INF, 700, 800], [-900, -INF, -900]]).double()

    @pytest.mark.parametrize('function', [log_shares, lambda x: shares(x, -1).log()])
    def test_rows_sum_to_one_or_are_nothing(self, function):
        out = function(self.rows)
        e = math.e
        expected = [[1 / (1 + e), e / (1 + e), 0], [0, 0, 0], [0, math.exp(-100), 1], [0.5, 0, 0.5]]
        assert_close(out.exp(), torch.tensor(expected, dtype=torch.float64))

    @pytest.mark.parametrize('function', [log_shares, lambda x: shares(x, -1)])
    def test_gradient(self, function):
        logits = self.rows.clone().requires_grad_()
        function(logits).nan_to_num(neginf=0).square().sum().backward()
        assert torch.isfinite(logits.grad).all()
        assert not logits.grad[1].any()
        free = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(function, (free,))

    def test_along_another_dimension(self):
        logits = torch.randn(2, 3, 4)
        assert_close(shares(logits, 1), logits.softmax(1))

    @pytest.mark.parametrize('shape', [(0,), (2, 0), (0, 3)])
    def test_nothing(self, shape):
        logits = torch.zeros(shape, requires_grad=True)
        shares(logits, -1).sum().backward()
        assert logits.grad.shape == shape
        assert log_shares(torch.zeros(2, 0)).shape == (2, 0)


class TestKeepLargest:
    def kept(self, values, number):
        return torch.isfinite(keep_largest(torch.tensor(values), number)).tolist()

    def test_as_many_as_asked_for(self):
        assert self.kept([3.0, 9.0, 1.0, 5.0], 2) == [False, True, False, True]

    def test_all_that_tie_with_the_last(self):
        assert self.kept([3.0, 9.0, 3.0, 1.0, 3.0 - 1e-6], 2) == [True, True, True, False, True]
        assert self.kept([0.0] * 5, 2) == [True] * 5

    @pytest.mark.parametrize('number', [2, 3, 4, 99])
    def test_fewer_than_asked_for(self, number):
        assert self.kept([3.0, -INF, 1.0], number) == [True, False, True]

    def test_nothing_to_choose_from(self):
        assert self.kept([-INF, -INF], 1) == [False, False]
        assert keep_largest(torch.zeros(2, 0), 3).shape == (2, 0)


class TestNeighbourWeights:
    log_kernels = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def edges(self):
        edges = torch.rand(2, 4, 5, dtype=torch.float64)
        edges[0, 1, :3] = 0
        edges[1, 2] = 0
        return edges / edges.sum(-1, keepdim=True).clamp(min=1e-9)

    def test_over_neighbours(self):
        edges = self.edges()
        product = self.log_kernels.exp() * edges[:, None]
        expected = product / product.sum(-1, keepdim=True).clamp(min=1e-9)
        assert_close(neighbour_weights(self.log_kernels, edges.log(), 'neighbours'), expected)

    def test_shared_by_the_kernels(self):
        edges = self.edges()
        product = self.log_kernels.exp() * edges[:, None]
        expected = 3 * product / product.sum((1, 3), keepdim=True).clamp(min=1e-9)
        assert_close(neighbour_weights(self.log_kernels, edges.log(), 'neighbours', shared=True), expected)

    @pytest.mark.parametrize('shared', [False, True])
    def test_over_kernels(self, shared):
        edges = self.edges()
        weights = neighbour_weights(self.log_kernels, edges.log(), 'kernels', shared)
        assert_close(weights.sum(1), edges)
        assert_close(
            weights / weights.sum(1, keepdim=True).clamp(min=1e-9), self.log_kernels.softmax(1) * (weights > 0)
        )

    def test_one_kernel_over_kernels_has_no_say(self):
        edges = self.edges()
        assert_close(neighbour_weights(self.log_kernels[:, :1], edges.log(), 'kernels')[:, 0], edges)

    def test_a_factor_in_front_cancels_unless_shared(self):
        log_edges, factor = self.edges().log(), torch.tensor([0.0, 1, 2]).double()[:, None, None]
        for shared in (False, True):
            plain, scaled = (
                neighbour_weights(kernels, log_edges, 'neighbours', shared)
                for kernels in (self.log_kernels, self.log_kernels + factor)
            )
            assert torch.allclose(plain, scaled) == (not shared)

    @pytest.mark.parametrize('over', ['neighbours', 'kernels'])
    @pytest.mark.parametrize('shared', [False, True])
    def test_no_weight_at_all_gives_zeros(self, over, shared):
        kernels = torch.full((1, 2, 3, 3), -INF, requires_grad=True)
        edges = torch.zeros(1, 3, 3, requires_grad=True)
        weights = neighbour_weights(kernels, edges, over, shared)
        assert not weights.any()
        weights.sum().backward()
        assert torch.isfinite(kernels.grad).all()
        assert torch.isfinite(edges.grad).all()

    def test_far_away_kernels_do_not_underflow(self):
        far = torch.tensor([-4000.0, -4001.0]).expand(1, 1, 1, 2)
        weights = neighbour_weights(far, torch.zeros(1, 1, 2), 'neighbours')
        assert_close(weights[0, 0, 0], torch.tensor([0.0, -1.0]).softmax(0))
