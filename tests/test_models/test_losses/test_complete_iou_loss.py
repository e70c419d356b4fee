"""Complete IoU loss: values, gradients, and every case in which mmdet's is wrong."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.losses import CIoULoss
from mmdet.models.losses.iou_loss import ciou_loss
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch.testing import assert_close

from mmdet_ext.models.losses import CompleteIoULoss, complete_iou_kernel, complete_iou_loss

SQUARE, WIDE = [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 4.0, 1.0]


def boxes(number, seed=0, dtype=torch.float64, size=100.0):
    """Predictions and targets that overlap, touch nothing, contain each other, ..."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(2, number, 2, generator=generator, dtype=dtype) * size
    side = torch.rand(2, number, 2, generator=generator, dtype=dtype) * size + 0.01 * size
    return torch.cat([low, low + side], dim=-1).unbind()


def alpha_of(pred, target, gate=None):
    """alpha, and the loss without alpha v, and v: the formula of the paper, one operator after the other."""
    low, high = torch.maximum(pred[:, :2], target[:, :2]), torch.minimum(pred[:, 2:], target[:, 2:])
    inter = (high - low).clamp(min=0).prod(1)
    sizes = pred[:, 2:] - pred[:, :2], target[:, 2:] - target[:, :2]
    iou = inter / (sizes[0].prod(1) + sizes[1].prod(1) - inter)
    hull = torch.maximum(pred[:, 2:], target[:, 2:]) - torch.minimum(pred[:, :2], target[:, :2])
    centres = (pred[:, :2] + pred[:, 2:] - target[:, :2] - target[:, 2:]) / 2
    rest = 1 - iou + centres.square().sum(1) / hull.square().sum(1)
    angles = [torch.atan2(*size.unbind(1)) for size in sizes]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    alpha = (v / (1 - iou + v).clamp(min=1e-12)).detach()
    return (alpha if gate is None else alpha * (iou.detach() >= gate)), rest, v


def slow_loss(pred, target, alpha=None, gate=None):
    own, rest, v = alpha_of(pred, target, gate)
    return rest + (own if alpha is None else alpha) * v


def gradient(loss, pred, target, **options):
    pred = pred.clone().requires_grad_()
    return torch.autograd.grad(loss(pred, target, **options).sum(), pred)[0]


class TestValues:
    @pytest.mark.parametrize(
        ('pred', 'target', 'expected'),
        [
            # Halves of each other: IoU 1/3, centres 1 apart, diagonal^2 9 + 4.
            ([0, 0, 2, 2], [1, 0, 3, 2], 2 / 3 + 1 / 13),
            # Apart: centres (3, 3) apart, diagonal^2 50.
            ([0, 0, 2, 2], [3, 3, 5, 5], 1 + 18 / 50),
            # A corner is shared, no area: centres (2, 2) apart, diagonal^2 32.
            ([0, 0, 2, 2], [2, 2, 4, 4], 1 + 8 / 32),
            (SQUARE, SQUARE, 0.0),
        ],
    )
    def test_closed_form_of_equal_shapes(self, pred, target, expected):
        loss = complete_iou_loss(torch.tensor([pred], dtype=torch.float64), torch.tensor([target], dtype=torch.float64))
        assert_close(loss.item(), expected, rtol=1e-12, atol=1e-12)

    def test_closed_form_of_the_aspect_term(self):
        pred, target = torch.tensor([SQUARE, WIDE], dtype=torch.float64).unbind()
        v = 4 / math.pi**2 * (math.atan(4) - math.atan(1)) ** 2
        expected = 1 - 1 / 3 + (1 + 0.25) / 20 + v * v / (2 / 3 + v)
        loss = complete_iou_loss(pred[None], target[None])
        assert_close(loss.item(), expected, rtol=1e-12, atol=0)

    @pytest.mark.parametrize('gate', [None, 0.3, 1.0])
    def test_equals_the_formula(self, gate):
        pred, target = boxes(500)
        loss = complete_iou_loss(pred, target, reduction='none', iou_gate=gate)
        assert_close(loss, slow_loss(pred, target, gate=gate), rtol=1e-10, atol=1e-12)
        expected = gradient(slow_loss, pred, target, gate=gate)
        assert_close(gradient(complete_iou_loss, pred, target, reduction='sum', iou_gate=gate), expected)

    def test_the_gate_includes_its_own_value(self):
        pred, target = torch.tensor([[0.0, 0, 2, 1]]), torch.tensor([[0.0, 0, 4, 1]])  # IoU 0.5
        kept, dropped = (complete_iou_loss(pred, target, iou_gate=gate) for gate in (0.5, 0.51))
        assert_close(kept, complete_iou_loss(pred, target))
        assert dropped < kept

    def test_far_thin_boxes_exceed_two_and_keep_their_gradient(self):
        pred, target = torch.tensor([[0.0, 0, 100, 1]]), torch.tensor([[2000.0, 2000, 2001, 2100]])
        assert_close(complete_iou_loss(pred, target).item(), 2.432, rtol=0, atol=1e-3)
        assert gradient(complete_iou_loss, pred, target).abs().min() > 0


class TestGradient:
    def test_gradcheck_with_alpha_as_a_constant(self):
        """Central differences of the formula, alpha held, against our analytic gradient."""
        pred, target = boxes(20)
        alpha, step = alpha_of(pred, target)[0], 1e-5
        numeric = torch.zeros_like(pred)
        for axis in range(4):
            shift = torch.zeros(4, dtype=pred.dtype)
            shift[axis] = step
            ends = [slow_loss(pred + sign * shift, target, alpha) for sign in (1, -1)]
            numeric[:, axis] = (ends[0] - ends[1]) / (2 * step)
        assert_close(gradient(complete_iou_loss, pred, target, reduction='sum'), numeric, rtol=1e-6, atol=1e-8)

    def test_gradcheck_without_alpha(self):
        """A gate of 1 leaves no alpha, so that torch's own check applies; to both boxes."""
        pred, target = (x.requires_grad_() for x in boxes(6))
        weight = torch.rand(6, dtype=torch.float64)
        assert torch.autograd.gradcheck(lambda p, t: complete_iou_loss(p, t, weight, 3.0, iou_gate=1.0), (pred, target))

    def test_target_has_the_gradient_of_a_prediction(self):
        pred, target = (x.requires_grad_() for x in boxes(30))
        loss = complete_iou_loss(pred, target, reduction='sum')
        grads = torch.autograd.grad(loss, (pred, target))
        expected = torch.autograd.grad(slow_loss(pred, target).sum(), (pred, target))
        assert_close(grads, expected)
        only = torch.autograd.grad(complete_iou_loss(pred.detach(), target, reduction='sum'), target)[0]
        assert_close(only, expected[1])

    def test_equal_edges_share_the_gradient_as_in_torch(self):
        pred, target = torch.tensor([[0.0, 0, 4, 3], [0, 1, 9, 9]]), torch.tensor([[0.0, 1, 4, 5], [0, 1, 6, 9]])
        grad = gradient(complete_iou_loss, pred, target, reduction='sum')
        assert_close(grad, gradient(slow_loss, pred, target))

    def test_second_derivative_is_refused(self):
        pred, target = boxes(3)
        pred.requires_grad_()
        with pytest.raises(RuntimeError, match='it has no second derivative; call backward without create_graph'):
            torch.autograd.grad(complete_iou_loss(pred, target), pred, create_graph=True)

    def test_nothing_is_computed_where_no_gradient_is_wanted(self, monkeypatch):
        wanted = []
        run = complete_iou_kernel.run_chunks
        monkeypatch.setattr(complete_iou_kernel, 'run_chunks', lambda *args: wanted.append(args[-1]) or run(*args))
        pred, target = boxes(3)
        complete_iou_loss(pred, target)
        with torch.no_grad():
            complete_iou_loss(pred.requires_grad_(), target)
        assert wanted == [False, False]
        complete_iou_loss(pred, target)
        assert wanted[2:] == [True]

    @pytest.mark.parametrize('number', [1, 6, 7, 8, 14, 20])
    def test_chunks_of_any_size_give_the_same(self, monkeypatch, number):
        pred, target = boxes(number)
        expected = complete_iou_loss(pred, target, reduction='none'), gradient(complete_iou_loss, pred, target)
        monkeypatch.setattr(complete_iou_kernel, 'CHUNK', 7)
        got = complete_iou_loss(pred, target, reduction='none'), gradient(complete_iou_loss, pred, target)
        assert_close(got, expected, rtol=0, atol=0)

    def test_strided_boxes(self):
        pred, target = boxes(9)
        apart = [torch.stack(x.unbind(1)).t() for x in (pred, target)]
        assert not apart[0].is_contiguous()
        assert_close(gradient(complete_iou_loss, *apart), gradient(complete_iou_loss, pred, target))


class TestSameAsMmdet:
    """Wherever mmdet's loss is right."""

    @pytest.mark.parametrize('weighted', ['no', 'box', 'coordinate'])
    @pytest.mark.parametrize(
        'options', [{}, dict(avg_factor=7.0), dict(reduction_override='sum'), dict(reduction_override='none')]
    )
    def test_value_and_gradient(self, weighted, options):
        pred, target = boxes(200, dtype=torch.float32)
        shape = dict(no=None, box=(200,), coordinate=(200, 4))[weighted]
        weight = None if shape is None else torch.rand(shape)
        results = []
        for loss in (CompleteIoULoss(iou_gate=0.5, loss_weight=2.0), CIoULoss(loss_weight=2.0)):
            leaf = pred.clone().requires_grad_()
            value = loss(leaf, target, weight, **options)
            results.append((value, torch.autograd.grad(value.sum(), leaf)[0]))
        assert_close(*results, rtol=1e-4, atol=1e-5)

    def test_box_of_no_height_keeps_its_aspect(self):
        pred, target = torch.tensor([[10.0, 20, 60, 20], [30, 30, 30, 30]]), torch.tensor([[10.0, 0, 60, 40]] * 2)
        ours = complete_iou_loss(pred, target, reduction='none')
        theirs = 1 - (1 - ciou_loss(pred, target, reduction='none'))  # its gate removes alpha here
        angle = torch.tensor([math.pi / 2, 0.0])
        v = 4 / math.pi**2 * (math.atan(50 / 40) - angle) ** 2
        assert_close(ours, theirs + v * v / (1 + v), rtol=1e-5, atol=1e-6)
        grad = gradient(complete_iou_loss, pred, target)
        assert grad.isfinite().all()
        # Descent: the top goes up, the bottom goes down.
        assert grad[0, 1] > 0 > grad[0, 3]

    @pytest.mark.parametrize('dtype', [torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize('box', [[10.0, 20, 60, 20], [10, 20, 10, 60], [10, 20, 10, 20], [60, 20, 10, 20]])
    def test_equal_boxes_without_area_stay_as_they_are(self, box, dtype):
        """The formula's autograd pulls by width / eps here, infinite in half precision."""
        box = torch.tensor([box], dtype=dtype)
        assert_close(complete_iou_loss(box, box).item(), 1.0)
        grad = gradient(complete_iou_loss, box, box)
        inverted = box[:, 2:] < box[:, :2]
        assert grad.isfinite().all()
        assert (grad[~inverted.repeat(1, 2)] == 0).all()
        assert ((grad[:, 2:] - grad[:, :2])[inverted] < 0).all()

    def test_a_target_without_height_gives_no_gradient_of_overlap(self):
        """What is left is the distance of the centres; wherever the box ends, the IoU is 0."""

        def distance(pred, target):
            hull = torch.maximum(pred[:, 2:], target[:, 2:]) - torch.minimum(pred[:, :2], target[:, :2])
            return ((pred - target).unflatten(1, (2, 2)).sum(1) / 2).square().sum(1) / hull.square().sum(1)

        pred = torch.tensor([[0.0, 0, 50, 40], [5, 40, 45, 60], [0, 0, 50, 60], [0, 40, 50, 40], [0, 90, 50, 99]])
        target = torch.tensor([[0.0, 40, 50, 40]]).expand(5, 4)
        # A gate of 1 leaves no alpha.
        ours = gradient(complete_iou_loss, pred, target, reduction='sum', iou_gate=1.0)
        assert_close(ours, gradient(distance, pred, target))


class TestMmdetIsWrong:
    def test_equal_boxes(self):
        pred = boxes(200, dtype=torch.float32)[0]
        leaf = pred.clone().requires_grad_()
        theirs = CIoULoss(reduction='none')(leaf, pred)
        assert theirs.isnan().float().mean() > 0.9
        assert torch.autograd.grad(theirs.sum(), leaf)[0].isnan().any()
        assert_close(complete_iou_loss(pred, pred, reduction='none'), torch.zeros(200), rtol=0, atol=0)
        assert_close(gradient(complete_iou_loss, pred, pred), torch.zeros(200, 4), rtol=0, atol=0)

    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_large_boxes_in_half_precision(self, dtype):
        pred, target = (torch.tensor([[0, 0, side, side]], dtype=dtype) for side in (304.0, 288.0))
        if dtype is torch.float16:
            assert CIoULoss()(pred, target).isnan()
        loss = complete_iou_loss(pred, target)
        assert loss.dtype is torch.float32
        assert_close(loss, complete_iou_loss(pred.float(), target.float()))
        grad = gradient(complete_iou_loss, pred, target)
        assert grad.dtype is dtype
        assert grad.isfinite().all()

    @pytest.mark.parametrize('offset', [1e4, 1e5])
    def test_large_offsets(self, offset):
        """All numbers of the boxes are exact at both places, so nothing may change."""
        pred, target = (x.mul(128).round().div(128) for x in boxes(200, dtype=torch.float32, size=2.0))
        near = complete_iou_loss(pred, target, reduction='none'), gradient(complete_iou_loss, pred, target)
        far = [x + offset for x in (pred, target)]
        moved = complete_iou_loss(*far, reduction='none'), gradient(complete_iou_loss, *far)
        assert_close(moved, near, rtol=1e-6, atol=1e-8)
        if offset == 1e5:
            theirs = [ciou_loss(*pair, reduction='none') for pair in ((pred, target), far)]
            assert (theirs[0] - theirs[1]).abs().max() > 1e-4

    @pytest.mark.parametrize('size', [1e-4, 1e-3])
    def test_small_boxes_in_units_of_the_image(self, size):
        """mmdet adds `eps` to areas that are no larger."""
        pred, target = torch.tensor([[0.5, 0.5, 0.5 + 8 * size, 0.5 + 8 * size]]), torch.tensor([[0.5, 0.5, 0.5, 0.5]])
        target = target + torch.tensor([0, 0, 8 * size, 6 * size])
        exact = slow_loss(pred.double(), target.double(), gate=0.5).float()
        assert_close(complete_iou_loss(pred, target, iou_gate=0.5, reduction='none'), exact, rtol=1e-3, atol=0)
        assert (CIoULoss(reduction='none')(pred, target) - exact).abs() > 0.01 * exact

    @pytest.mark.parametrize('gate', [None, 0.5])
    @pytest.mark.parametrize(
        'pred',
        [
            [60.0, 20, 40, 80],  # inside of the target
            [60, 80, 40, 20],  # both sides
            [50, 50, 40, 40],
            [900, 20, 500, 80],  # beside it
            [60, 500, 40, 400],  # below it
            [50.001, 20, 50, 80],
            [10, 300, 5, 300],
            [30, 60, 10, 40],
        ],
    )
    @pytest.mark.parametrize('target', [[0.0, 0, 100, 100], [0, 0, 20, 100], [0, 0, 0, 0]])
    def test_inverted_sides_get_wider(self, pred, target, gate):
        pred, target = torch.tensor([pred]).float(), torch.tensor([target]).float()
        grad = gradient(complete_iou_loss, pred, target, iou_gate=gate)
        assert grad.isfinite().all()
        side = pred[:, 2:] - pred[:, :2]
        by_side = grad[:, 2:] - grad[:, :2]
        assert (by_side[side < 0] < 0).all()
        # Its value is that of a side of length 0 in the middle.
        middle = (pred[:, :2] + pred[:, 2:]) / 2
        low, high = torch.where(side < 0, middle, pred[:, :2]), torch.where(side < 0, middle, pred[:, 2:])
        flat = torch.cat([low, high], dim=1)
        options = dict(iou_gate=gate)
        assert_close(complete_iou_loss(pred, target, **options), complete_iou_loss(flat, target, **options))

    def test_mmdet_gives_inverted_sides_no_gradient(self):
        pred, target = torch.tensor([[60.0, 20, 40, 80]]), torch.tensor([[0.0, 0, 100, 100]])
        theirs = gradient(CIoULoss(), pred, target)
        assert theirs[0, 0] == theirs[0, 2] == 0

    def test_gradient_steps_turn_an_inverted_box_into_the_target(self):
        pred, target = torch.tensor([[60.0, 50, 40, 30]], requires_grad=True), torch.tensor([[10.0, 10, 90, 70]])
        optimizer = torch.optim.Adam([pred], lr=1.0)
        for _ in range(300):
            optimizer.zero_grad()
            complete_iou_loss(pred, target).backward()
            optimizer.step()
        assert complete_iou_loss(pred, target) < 0.05


class TestProperties:
    # Whole numbers: equal edges stay equal when they are moved.
    side, place = st.integers(1, 100), st.integers(-100, 100)
    box = st.tuples(place, place, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])

    @settings(deadline=None, max_examples=40)
    @given(box, box, st.floats(0.05, 20), st.tuples(place, place))
    def test_scale_and_position_do_not_matter_and_roles_are_equal(self, pred, target, scale, shift):
        pair = [torch.tensor([x], dtype=torch.float64) for x in (pred, target)]
        loss, grad = complete_iou_loss(*pair), gradient(complete_iou_loss, *pair)
        assert 0 <= loss <= 3
        moved = [x * scale + torch.tensor(shift * 2) for x in pair]
        assert_close(complete_iou_loss(*moved), loss, rtol=1e-6, atol=1e-7)
        assert_close(gradient(complete_iou_loss, *moved) * scale, grad, rtol=1e-6, atol=1e-9)
        assert_close(complete_iou_loss(*pair[::-1]), loss)
        turned = [x[:, [1, 0, 3, 2]] for x in pair]
        assert_close(complete_iou_loss(*turned), loss)

    number = st.one_of(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, 10.0, 1e-20]))
    numbers = st.lists(number, min_size=4, max_size=4)

    @settings(deadline=None, max_examples=100)
    @given(numbers, numbers, st.sampled_from([None, 0.5]))
    def test_any_finite_boxes_have_finite_results(self, pred, target, gate):
        pred, target = torch.tensor([pred]), torch.tensor([target])
        loss = complete_iou_loss(pred, target, iou_gate=gate)
        assert 0 <= loss <= 3
        grad = gradient(complete_iou_loss, pred, target, iou_gate=gate)
        assert grad.isfinite().all()
        side = pred[:, 2:] - pred[:, :2]
        assert ((grad[:, 2:] - grad[:, :2])[side < 0] < 0).all()

    def test_a_nan_is_not_hidden(self):
        pred, target = boxes(3)
        pred[1, 2] = float('nan')
        assert complete_iou_loss(pred, target, reduction='none').isnan().tolist() == [False, True, False]
        assert complete_iou_loss(pred, target).isnan()


class TestTypes:
    def test_float64_stays(self):
        pred, target = boxes(5)
        assert complete_iou_loss(pred, target).dtype is torch.float64
        assert complete_iou_loss(pred.float(), target.float()).dtype is torch.float32

    def test_autocast_changes_nothing(self):
        pred, target = boxes(50, dtype=torch.float32)
        expected = complete_iou_loss(pred, target), gradient(complete_iou_loss, pred, target)
        with torch.autocast('cpu', torch.bfloat16):
            got = complete_iou_loss(pred, target), gradient(complete_iou_loss, pred, target)
        assert_close(got, expected, rtol=0, atol=0)

    def test_whole_numbers_as_targets(self):
        target = torch.tensor([[0, 0, 4, 3]])
        pred = torch.tensor([[0.0, 1, 4, 3]])
        assert_close(complete_iou_loss(pred, target), complete_iou_loss(pred, target.float()))

    def test_compiles_in_one_graph(self):
        torch._dynamo.reset()
        pred, target = boxes(40)
        compiled = torch.compile(complete_iou_loss, backend='aot_eager', fullgraph=True)
        assert_close(gradient(compiled, pred, target), gradient(complete_iou_loss, pred, target))


class TestReduction:
    @pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
    @pytest.mark.parametrize('avg_factor', [None, 3.0])
    @pytest.mark.parametrize('weight', [None, torch.ones(0), torch.ones(0, 4)])
    def test_no_boxes_give_a_zero_with_a_graph(self, reduction, avg_factor, weight):
        if (reduction, avg_factor) == ('sum', 3.0):
            return
        pred = torch.zeros(0, 4, requires_grad=True)
        loss = CompleteIoULoss()(pred, torch.zeros(0, 4), weight, avg_factor, reduction)
        assert loss.shape == ((0,) if reduction == 'none' else ())
        assert loss.sum() == 0
        loss.sum().backward()
        assert pred.grad.shape == (0, 4)

    def test_all_weights_zero_give_a_zero_with_a_graph(self):
        pred, target = boxes(5)
        pred.requires_grad_()
        loss = CompleteIoULoss()(pred, target, torch.zeros(5, 4), avg_factor=torch.tensor(0.0))
        loss.backward()
        assert loss == 0
        assert_close(pred.grad, torch.zeros(5, 4, dtype=torch.float64))

    def test_targets_of_background_are_no_trouble(self):
        """With `reg_decoded_bbox` mmdet's targets of negatives are zeros, their weight is 0."""
        pred, target = boxes(5)
        target[2:], weight = 0, torch.tensor([1.0, 1, 0, 0, 0])
        grad = gradient(complete_iou_loss, pred, target, weight=weight, reduction='sum')
        assert_close(grad[:2], gradient(complete_iou_loss, pred[:2], target[:2], reduction='sum'))
        assert (grad[2:] == 0).all()


class TestBadInput:
    @pytest.mark.parametrize(
        ('options', 'words'),
        [
            (dict(eps=0), 'eps=0, must be above 0'),
            (dict(eps=float('nan')), 'eps=nan, must be above 0'),
            (dict(iou_gate=1.5), r'iou_gate=1.5, allowed is None \(no gate\) or an IoU from 0 to 1'),
            (dict(reduction='avg'), r"reduction='avg', allowed are \('none', 'mean', 'sum'\)"),
        ],
    )
    def test_options(self, options, words):
        with pytest.raises(ValueError, match=words):
            CompleteIoULoss(**options)
        with pytest.raises(ValueError, match=words):
            complete_iou_loss(*boxes(2), **options)

    @pytest.mark.parametrize(('pred', 'target'), [((3, 4), (2, 4)), ((3, 5), (3, 5)), ((4,), (4,)), ((1, 4), (3, 4))])
    def test_shapes(self, pred, target):
        with pytest.raises(ValueError, match=rf'predictions \({pred[0]},.*must be \(n, 4\) boxes x1, y1, x2, y2'):
            complete_iou_loss(torch.zeros(pred), torch.zeros(target))

    @pytest.mark.parametrize('shape', [(2,), (3, 1), (3, 3), ()])
    def test_weights(self, shape):
        with pytest.raises(ValueError, match=r'weight \(.*for 3 boxes, must be \(n,\), one per box, or \(n, 4\)'):
            complete_iou_loss(*boxes(3), weight=torch.ones(shape))

    def test_override_and_sum_with_a_factor(self):
        with pytest.raises(ValueError, match="reduction='max'"):
            CompleteIoULoss()(*boxes(3), reduction_override='max')
        with pytest.raises(ValueError, match='avg_factor can not be used with reduction="sum"'):
            CompleteIoULoss(reduction='sum')(*boxes(3), avg_factor=2)


LOSS = dict(type='CompleteIoULoss', loss_weight=2.0)
CODER = dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])
ASSIGNER = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0.1)
META = dict(img_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))


def ground_truth():
    return [
        InstanceData(bboxes=torch.tensor([[4.0, 6, 40, 44], [30, 30, 60, 62]]), labels=torch.tensor([0, 2])),
        InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)),
    ]


def train(head, step):
    """The box loss falls in 20 steps."""
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    trace = []
    for _ in range(20):
        loss = step()['loss_bbox']
        trace.append(sum(loss) if isinstance(loss, list) else loss)
        optimizer.zero_grad()
        trace[-1].backward()
        optimizer.step()
    assert all(x.isfinite() for x in trace)
    assert trace[-1] < 0.9 * trace[0]


class TestHeads:
    """By config, in mmdet's own heads, with an image without boxes in the batch."""

    @pytest.mark.parametrize('kind', ['RPNHead', 'RetinaHead'])
    def test_one_stage(self, kind):
        torch.manual_seed(0)
        anchors = dict(type='AnchorGenerator', scales=[4], ratios=[0.5, 1.0, 2.0], strides=[8, 16])
        own = dict(
            RPNHead=dict(loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=True)),
            RetinaHead=dict(num_classes=3, stacked_convs=1),
        )[kind]
        cfg = ConfigDict(assigner=ASSIGNER, sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1)
        head = MODELS.build(
            dict(
                type=kind,
                in_channels=8,
                feat_channels=8,
                anchor_generator=anchors,
                bbox_coder=CODER,
                reg_decoded_bbox=True,
                loss_bbox=LOSS,
                train_cfg=cfg,
                **own,
            )
        )
        head.init_weights()
        feats = [torch.randn(2, 8, side, side) for side in (8, 4)]
        instances = ground_truth()
        if kind == 'RPNHead':
            for instance in instances:
                instance.labels = torch.zeros_like(instance.labels)

        def step():
            losses = head.loss_by_feat(*head(feats), instances, [META, META])
            return dict(loss_bbox=losses.get('loss_bbox', losses.get('loss_rpn_bbox')))

        assert isinstance(head.loss_bbox, CompleteIoULoss)
        train(head, step)

    @pytest.mark.parametrize('class_agnostic', [True, False])
    def test_two_stage(self, class_agnostic):
        torch.manual_seed(0)
        roi_layer = dict(type='RoIAlign', output_size=3, sampling_ratio=0)
        extractor = dict(type='SingleRoIExtractor', roi_layer=roi_layer, out_channels=8, featmap_strides=[8])
        head_cfg = dict(
            type='Shared2FCBBoxHead',
            in_channels=8,
            fc_out_channels=16,
            roi_feat_size=3,
            num_classes=3,
            bbox_coder=CODER,
            reg_class_agnostic=class_agnostic,
            reg_decoded_bbox=True,
            loss_bbox=LOSS,
        )
        sampler = dict(type='RandomSampler', num=32, pos_fraction=0.5, neg_pos_ub=-1, add_gt_as_proposals=True)
        train_cfg = ConfigDict(assigner=ASSIGNER, sampler=sampler, pos_weight=-1)
        roi_head = MODELS.build(
            dict(
                type='StandardRoIHead',
                bbox_roi_extractor=extractor,
                bbox_head=head_cfg,
                train_cfg=train_cfg,
            )
        )
        roi_head.init_weights()
        # As R-CNN initialises: the boxes start as the proposals, the added ground truth is equal to its target.
        torch.nn.init.zeros_(roi_head.bbox_head.fc_reg.weight)
        feats = (torch.randn(2, 8, 8, 8),)
        instances = ground_truth()
        near = instances[0].bboxes.repeat(6, 1) + torch.randn(12, 4) * 3
        proposals = [InstanceData(bboxes=near), InstanceData(bboxes=torch.tensor([[0.0, 0, 20, 20]]))]

        def step():
            results = []
            for index in range(2):
                priors = InstanceData(priors=proposals[index].bboxes)
                assigned = roi_head.bbox_assigner.assign(priors, instances[index], None)
                results.append(roi_head.bbox_sampler.sample(assigned, priors, instances[index]))
            return roi_head.bbox_loss(feats, results)['loss_bbox']

        train(roi_head, step)
