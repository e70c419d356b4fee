"""GHM-C and GHM-R: closed forms, the slow form of the paper, mmdet where it is right, and where it is not."""

import math

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.losses import GHMC, GHMR
from mmdet.registry import MODELS
from torch.testing import assert_close

from mmdet_ext.models.losses import GHMCLoss, GHMRLoss, ghm_c_loss, ghm_r_loss
from mmdet_ext.models.losses import harmonized_loss as harmonized

from .ghm_case import make_boxes, make_scores, one_hot, slow_ghm, slow_ghm_c


def value_and_grad(loss, pred, *args, **kwargs):
    value = loss(pred, *args, **kwargs)
    return value.detach(), torch.autograd.grad(value.sum(), pred)[0]


class TestClassification:
    def test_closed_form(self):
        # Three entries of g = 0.5 and one of g = sigmoid(2) = 0.88 in two bins: (mean of each bin) / 2.
        pred = torch.tensor([[0.0], [0.0], [0.0], [2.0]])
        target = torch.tensor([1, 1, 1, 1])
        expected = (math.log(2) + math.log1p(math.exp(2))) / 2
        assert GHMCLoss(bins=4)(pred, target).item() == pytest.approx(expected, rel=1e-6)
        terms = GHMCLoss(bins=4, reduction='none')(pred, target)
        # beta = N / (R n): 4 / (3 * 2) and 4 / (1 * 2).
        beta = torch.tensor([2 / 3] * 3 + [2.0])[:, None]
        assert_close(terms, beta * F.softplus(pred))
        assert GHMCLoss(bins=4, reduction='sum')(pred, target).item() == pytest.approx(4 * expected, rel=1e-6)
        assert GHMCLoss(bins=4, loss_weight=3)(pred, target).item() == pytest.approx(3 * expected, rel=1e-6)
        assert GHMCLoss(bins=4, normalizer='all_bins')(pred, target).item() == pytest.approx(expected / 2, rel=1e-6)

    @pytest.mark.parametrize('chunk', [7, 2**16])
    @pytest.mark.parametrize('bins', [1, 10, 30])
    def test_equals_the_slow_form(self, bins, chunk, monkeypatch):
        monkeypatch.setattr(harmonized, 'CHUNK', chunk)
        pred, labels, weight = make_scores()
        weight = weight * torch.rand_like(weight)
        dense = weight[:, None].expand_as(pred)
        ours = value_and_grad(GHMCLoss(bins), pred, labels, weight)
        assert_close(ours, value_and_grad(slow_ghm_c, pred, one_hot(labels, 4), bins, dense))
        assert_close(ours, value_and_grad(GHMCLoss(bins), pred, one_hot(labels, 4), weight))
        assert_close(ours, value_and_grad(GHMCLoss(bins), pred, one_hot(labels, 4), dense))
        assert_close(ours, value_and_grad(GHMCLoss(bins), pred, labels, weight[:, None]))

    def test_weights_of_single_logits_and_soft_targets(self):
        pred, labels, _ = make_scores()
        weight = torch.rand_like(pred).sub(0.3).clamp(min=0).detach()
        soft = torch.rand_like(pred).detach()
        for target in (labels, soft):
            dense = one_hot(labels, 4) if target is labels else soft
            expected = value_and_grad(slow_ghm_c, pred, dense, 10, weight)
            assert_close(value_and_grad(GHMCLoss(10), pred, target, weight), expected)

    @pytest.mark.parametrize('override', ['none', 'sum', 'mean'])
    def test_reductions_belong_together(self, override):
        pred, labels, weight = make_scores()
        value, grad = value_and_grad(GHMCLoss(10), pred, labels, weight, reduction_override=override)
        terms, total = slow_ghm(
            (pred.sigmoid() - one_hot(labels, 4)).abs().flatten(),
            F.binary_cross_entropy_with_logits(pred, one_hot(labels, 4), reduction='none').flatten(),
            10,
            weight[:, None].expand_as(pred).flatten(),
        )
        expected = {'none': terms.view_as(pred), 'sum': terms.sum(), 'mean': terms.sum() / total}[override]
        assert_close(value, expected)
        assert_close(grad, torch.autograd.grad(expected.sum(), pred)[0])

    def test_shapes_of_other_heads(self):
        pred, labels, weight = make_scores(60)
        expected = GHMCLoss(10)(pred, labels, weight)
        loss = GHMCLoss(10)
        # Images apart, one column as a vector, and what YOLOv3 gives: (B, n, C) with (B, n, 1), (B, n) with (B, n).
        assert_close(loss(pred.view(3, 20, 4), labels.view(3, 20), weight.view(3, 20)), expected)
        assert_close(
            loss(pred.view(3, 20, 4), one_hot(labels, 4).view(3, 20, 4), weight=weight.view(3, 20, 1)), expected
        )
        target, flat = one_hot(labels, 4)[:, 0], pred[:, 0]
        expected = loss(pred[:, :1], target[:, None], weight)
        assert_close(loss(flat, target, weight), expected)
        assert_close(loss(flat.view(3, 20), target.view(3, 20), weight.view(3, 20)), expected)
        assert loss(pred.view(3, 20, 4), labels.view(3, 20), reduction_override='none').shape == (3, 20, 4)

    @pytest.mark.parametrize('bins', [4, 30])
    def test_softmax(self, bins):
        pred, labels, weight = make_scores(columns=5)
        labels, weight = labels.clamp(max=4), weight * torch.rand_like(weight)
        entropy = F.cross_entropy(pred, labels, reduction='none')
        terms, total = slow_ghm(1 - (-entropy).exp().detach(), entropy, bins, weight)
        loss = GHMCLoss(bins, use_sigmoid=False)
        assert_close(value_and_grad(loss, pred, labels, weight)[0], terms.sum() / total)
        value, grad = value_and_grad(loss, pred, labels, weight, reduction_override='none')
        assert value.shape == (200,)
        assert_close(value, terms)
        assert_close(grad, torch.autograd.grad(terms.sum(), pred)[0])
        assert_close(loss(pred.view(2, 100, 5), labels.view(2, 100), weight.view(2, 100)), terms.sum() / total)

    def test_class_aware_counts_every_class_for_itself(self):
        pred, labels, weight = make_scores()
        target = one_hot(labels, 4)
        # The bins of all classes side by side: g of class c lies in [c, c + 1).
        g = (pred.sigmoid() - target).abs().detach() + torch.arange(4)
        loss = F.binary_cross_entropy_with_logits(pred, target, reduction='none')
        terms, total = slow_ghm(g.flatten() / 4, loss.flatten(), 40, weight[:, None].expand_as(pred).flatten())
        assert_close(GHMCLoss(10, class_aware=True)(pred, labels, weight), terms.sum() / total)
        assert_close(
            GHMCLoss(10, class_aware=True)(pred[:, :1], target[:, :1]), GHMCLoss(10)(pred[:, :1], target[:, :1])
        )

    def test_class_aware_softmax_counts_every_label_for_itself(self):
        pred, labels, weight = make_scores(columns=5)
        labels = labels.clamp(max=4)
        entropy = F.cross_entropy(pred, labels, reduction='none')
        g = (1 - (-entropy).exp().detach() + labels) / 5
        terms, total = slow_ghm(g, entropy, 50, weight)
        loss = GHMCLoss(10, use_sigmoid=False, class_aware=True)
        assert_close(loss(pred, labels, weight), terms.sum() / total)

    @pytest.mark.parametrize('options', [{}, dict(class_aware=True), dict(use_sigmoid=False)])
    @pytest.mark.parametrize('dense', [True, False])
    def test_gradcheck_with_a_constant_density(self, options, dense):
        pred, labels, weight = make_scores(6)
        if not options.get('use_sigmoid', True):
            labels, dense = labels.clamp(max=3), False
        columns = 4 if options.get('class_aware') else 1
        table = torch.rand(5 * columns, dtype=torch.float64)
        target = one_hot(labels, 4) if dense else labels
        for elementwise in (True, False):
            assert torch.autograd.gradcheck(
                lambda x, elementwise=elementwise: ghm_c_loss(
                    x, target, weight, beta=lambda counts: table, bins=5, elementwise=elementwise, **options
                ),
                pred,
            )

    def test_gradcheck_of_the_module(self):
        pred, labels, weight = make_scores(6)
        assert torch.autograd.gradcheck(lambda x: GHMCLoss(5)(x, labels, weight), pred)


class TestRegression:
    def test_closed_form(self):
        # |d| = 0.75 mu and 2 of d = 4/3 mu: g = 0.6 and 0.8; losses mu / 4 and 2 mu / 3.
        mu = 0.02
        pred = torch.tensor([[0.75, -4 / 3, 4 / 3]]) * mu
        loss = GHMRLoss(mu=mu, bins=4)
        assert loss(pred, torch.zeros(1, 3)).item() == pytest.approx(mu * (1 / 4 + 2 / 3) / 2, rel=1e-5)
        assert loss(pred, torch.zeros(1, 3), torch.ones(1)).item() == pytest.approx(mu * (1 / 4 + 2 / 3) / 2, rel=1e-5)

    @pytest.mark.parametrize('override', ['none', 'sum', 'mean'])
    def test_equals_the_slow_form(self, override):
        pred, target, weight = make_boxes()
        weight = weight * torch.rand_like(weight)
        length = (pred**2 + 0.02**2).sqrt()
        terms, total = slow_ghm((pred / length).abs().detach(), length - 0.02, 10, weight)
        expected = {'none': terms, 'sum': terms.sum(), 'mean': terms.sum() / total}[override]
        value, grad = value_and_grad(GHMRLoss(), pred, target, weight, reduction_override=override)
        assert_close(value, expected)
        assert_close(grad, torch.autograd.grad(expected.sum(), pred)[0])

    def test_gradcheck_with_a_constant_density(self):
        pred, target, weight = make_boxes(5)
        table = torch.rand(10, dtype=torch.float64)
        for elementwise in (True, False):
            assert torch.autograd.gradcheck(
                lambda x, elementwise=elementwise: ghm_r_loss(
                    x, target, weight, beta=lambda counts: table, elementwise=elementwise
                ),
                pred,
            )

    def test_huge_and_tiny_differences(self):
        pred = torch.tensor([[1e30, -1e30, 1e-6, 0.0]], requires_grad=True)
        value, grad = value_and_grad(GHMRLoss(reduction='none'), pred, torch.zeros(1, 4))
        # Two in the last bin, two in the first: beta = 4 / (2 * 2).
        assert_close(value, torch.tensor([[1e30, 1e30, 2.5e-11, 0.0]]), rtol=1e-5, atol=0)
        assert_close(grad, torch.tensor([[1.0, -1.0, 5e-5, 0.0]]))


class TestMmdet:
    """The numbers of GHMC and GHMR where they are right."""

    @pytest.mark.parametrize('bins', [10, 30])
    @pytest.mark.parametrize('dense', [True, False])
    def test_classification(self, bins, dense):
        pred, labels, weight = make_scores(500, dtype=torch.float32)
        target = one_hot(labels, 4).float() if dense else labels
        label_weight = weight[:, None].expand(-1, 4) if dense else weight
        theirs = value_and_grad(GHMC(bins, use_sigmoid=True, loss_weight=2.0), pred, target, label_weight)
        # As `AnchorHead` calls it.
        ours = value_and_grad(GHMCLoss(bins, loss_weight=2.0), pred, target, label_weight, avg_factor=7.0)
        assert_close(ours, theirs)

    def test_regression(self):
        pred, target, weight = make_boxes(500, dtype=torch.float32)
        theirs = value_and_grad(GHMR(0.02, 10, loss_weight=10.0), pred, target, weight)
        ours = value_and_grad(GHMRLoss(0.02, 10, loss_weight=10.0), pred, target, weight, avg_factor=7.0)
        # mmdet subtracts mu from a root that is hardly larger.
        assert_close(ours, theirs, rtol=1e-4, atol=1e-7)

    def test_configs_are_built(self):
        loss = MODELS.build(dict(type='GHMCLoss', bins=30, momentum=0.75, use_sigmoid=True, loss_weight=1.0))
        assert isinstance(loss, GHMCLoss)
        assert 'bins=30, momentum=0.75' in repr(loss)
        assert isinstance(MODELS.build(dict(type='GHMRLoss', mu=0.02, bins=10, momentum=0.7)), GHMRLoss)


class TestDefectsOfMmdet:
    """What is wrong there, shown, and right here."""

    def test_first_step_too_large(self):
        pred, labels, weight = make_scores(dtype=torch.float32)
        right = GHMCLoss(10)(pred, labels, weight)
        assert_close(GHMC(10, 0.75, use_sigmoid=True)(pred, labels, weight), 4 * right)
        assert_close(GHMCLoss(10, 0.75)(pred, labels, weight), right)

    def test_levels_share_one_average(self):
        theirs, ours = GHMC(10, 0.75, use_sigmoid=True), GHMCLoss(10, 0.75, scope='level', num_levels=3)
        levels = [make_scores(rows, seed=rows, dtype=torch.float32) for rows in (4000, 400, 40)]
        right = torch.stack([GHMCLoss(10)(*level) for level in levels])
        for _ in range(3):
            assert_close(torch.stack([ours(*level) for level in levels]), right)
            wrong = torch.stack([theirs(*level) for level in levels])
        # The same batch for ever, and its small levels hardly count.
        assert wrong[2] < right[2] / 5

    def test_sum(self):
        pred, labels, weight = make_scores(dtype=torch.float32)
        with pytest.raises(ValueError, match='avg_factor can not be used with reduction="sum"'):
            GHMC(10, use_sigmoid=True, reduction='sum')(pred, labels, weight)
        assert GHMCLoss(10, reduction='sum')(pred, labels, weight).isfinite()

    def test_half_precision(self):
        pred = torch.full((200_000, 1), -4.0)
        pred[0] = 12.0
        target = torch.zeros_like(pred)
        exact = GHMCLoss(10)(pred, target)
        assert GHMC(10, use_sigmoid=True)(pred.half(), target.half(), torch.ones_like(pred)).isinf()
        for dtype in (torch.float16, torch.bfloat16):
            half = pred.to(dtype).requires_grad_()
            value, grad = value_and_grad(GHMCLoss(10), half, target)
            assert value.dtype == torch.float32
            assert_close(value, exact, rtol=1e-4, atol=0)
            assert grad.dtype == dtype
            # Scaled up, as by AMP, the small gradients are there: they are cast last.
            scaled = torch.autograd.grad(GHMCLoss(10)(half, target) * 2**20, half)[0]
            assert_close(scaled[1].float() / 2**20, target[1] + 0.01798621 / 199_999 / 2, rtol=1e-2, atol=0)

    def test_g_equal_to_one_counts_in_the_last_bin_only_once(self):
        pred = torch.tensor([[40.0], [40.0], [3.0]])
        target = torch.zeros(3, 1)
        assert_close(GHMCLoss(10)(pred, target), torch.tensor((40 + 40 + 3.0485873) / 3))

    def test_fractional_weights(self):
        pred, labels, weight = make_scores()
        boxes, targets, box_weight = make_boxes()
        assert_close(GHMR()(boxes, targets, box_weight * 0.5), GHMR()(boxes, targets, box_weight))
        assert_close(GHMRLoss()(boxes, targets, box_weight * 0.5), GHMRLoss()(boxes, targets, box_weight) / 2)
        assert_close(GHMCLoss(10)(pred, labels, weight * 0.5), GHMCLoss(10)(pred, labels, weight) / 2)

    @pytest.mark.parametrize('bad', [math.nan, math.inf, -math.inf])
    def test_ignored_entries_are_not_read(self, bad):
        pred, labels, weight = make_scores(dtype=torch.float32)
        ignored = int(weight.argmin())
        assert weight[ignored] == 0
        boxes, targets, box_weight = make_boxes(dtype=torch.float32)
        row = int(box_weight[:, 0].argmin())
        for loss, args, at in (
            (GHMCLoss(10), (pred, labels, weight), ignored),
            (GHMCLoss(10), (pred, one_hot(labels, 4), weight), ignored),
            (GHMCLoss(10, use_sigmoid=False), (pred, labels.clamp(max=3), weight), ignored),
            (GHMRLoss(), (boxes, targets, box_weight), row),
        ):
            expected = value_and_grad(loss, *args)
            spoilt = args[0].detach().clone()
            spoilt[at] = bad
            assert_close(value_and_grad(loss, spoilt.requires_grad_(), *args[1:]), expected)

    def test_unknown_labels_of_ignored_entries(self):
        pred, labels, weight = make_scores()
        for use_sigmoid in (True, False):
            labels = labels.clamp(max=4 if use_sigmoid else 3)
            loss = GHMCLoss(10, use_sigmoid=use_sigmoid)
            marked = torch.where(weight > 0, labels, 255)
            assert_close(loss(pred, marked, weight), loss(pred, labels, weight))
            assert_close(loss(pred, torch.where(weight > 0, labels, -1), weight), loss(pred, labels, weight))

    def test_precise_for_easy_entries(self):
        pred = torch.tensor([[-15.0, 15.0, 15.0]])
        target = torch.tensor([[0.0, 1.0, 1.0]])
        assert_close(GHMCLoss(1)(pred, target).double(), torch.tensor(3.0590222692562e-07).double(), rtol=1e-6, atol=0)
        assert_close(
            GHMCLoss(1, reduction='none')(pred[:, 1:2], torch.tensor([0])).double().squeeze(),
            torch.tensor(3.0590222692562e-07).double(), rtol=1e-6, atol=0,
        )  # fmt: skip


@pytest.mark.parametrize('bad', [math.nan, math.inf])
def test_what_is_not_finite_shows_in_the_loss_and_not_in_the_average(bad):
    pred, labels, _ = make_scores(dtype=torch.float32)
    pred = pred.detach()
    pred[0] = bad
    loss = GHMCLoss(10, 0.5)
    assert not loss(pred, labels).isfinite()
    assert loss.acc_sum.isfinite().all()
    assert loss(*make_scores(dtype=torch.float32)).isfinite()
    # Both bounds of the difference at once: infinite logits of background only are an infinite loss, no NaN index.
    assert not GHMRLoss()(torch.full((2, 4), bad), torch.zeros(2, 4)).isfinite()


@pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
@pytest.mark.parametrize('kind', ['labels', 'dense', 'softmax', 'boxes'])
@pytest.mark.parametrize('rows', [0, 3])
def test_nothing_to_learn_is_a_connected_zero(kind, reduction, rows):
    pred = torch.randn(rows, 4, requires_grad=True)
    weight = torch.zeros(rows)
    if kind == 'boxes':
        loss, target = GHMRLoss(reduction=reduction, momentum=0.5), torch.zeros(rows, 4)
    else:
        loss = GHMCLoss(reduction=reduction, momentum=0.5, use_sigmoid=kind != 'softmax', class_aware=True)
        target = torch.zeros(rows, 4) if kind == 'dense' else torch.zeros(rows, dtype=torch.long)
    value = loss(pred, target, weight)
    assert (value == 0).all()
    value.sum().backward()
    assert_close(pred.grad, torch.zeros(rows, 4))
    assert loss.num_updates.tolist() == [0]


def test_no_gradient_asked_for():
    pred, labels, weight = make_scores()
    expected = GHMCLoss(10)(pred, labels, weight).detach()
    assert_close(GHMCLoss(10)(pred.detach(), labels, weight), expected)
    with torch.no_grad():
        assert_close(GHMCLoss(10)(pred, labels, weight), expected)


def test_autocast_computes_in_float32():
    pred, labels, weight = make_scores(dtype=torch.float32)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        for use_sigmoid in (True, False):
            labels = labels.clamp(max=4 if use_sigmoid else 3)
            loss = GHMCLoss(10, use_sigmoid=use_sigmoid)(pred, labels, weight)
            assert loss.dtype == torch.float32
            with torch.autocast('cpu', enabled=False):
                assert_close(loss, GHMCLoss(10, use_sigmoid=use_sigmoid)(pred, labels, weight))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 12), st.integers(0, 999))
def test_order_and_repetition_do_not_matter(rows, columns, bins, seed):
    pred, labels, weight = make_scores(rows, columns, seed)
    loss = GHMCLoss(bins)
    value, grad = value_and_grad(loss, pred, labels, weight)
    order = torch.randperm(rows)
    permuted = value_and_grad(loss, pred.detach()[order].requires_grad_(), labels[order], weight[order])
    assert_close(permuted, (value, grad[order]))
    doubled = [torch.cat([x.detach()] * 2) for x in (pred, labels, weight)]
    assert_close(loss(*doubled), value)
    assert value >= 0
    # Every bin that is not empty weighs the same: a mean of means.
    g = (pred.sigmoid() - one_hot(labels, columns)).abs()[weight > 0]
    terms = F.binary_cross_entropy_with_logits(pred, one_hot(labels, columns), reduction='none')[weight > 0]
    bin_of = (g * bins).long().clamp(max=bins - 1)
    means = [terms[bin_of == k].mean() for k in bin_of.unique()]
    assert_close(value, torch.stack(means).mean().detach() if means else value * 0)


class TestBadInput:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (dict(bins=0), 'GHMCLoss: bins must be a whole number from 1 on, got 0'),
            (dict(bins=2.5), 'bins must be a whole number from 1 on, got 2.5'),
            (dict(momentum=1.0), r'GHMCLoss: momentum must be in \[0, 1\), got 1.0'),
            (dict(momentum=-0.1), r'momentum must be in \[0, 1\), got -0.1'),
            (dict(momentum=math.nan), r'momentum must be in \[0, 1\), got nan'),
            (dict(scope='image'), "scope must be one of 'batch', 'level', got 'image'"),
            (dict(normalizer='M'), "normalizer must be one of 'valid_bins', 'all_bins', got 'M'"),
            (dict(reduction='avg'), "reduction must be one of 'none', 'mean', 'sum', got 'avg'"),
            (dict(num_levels=0), 'num_levels must be a whole number from 1 on, got 0'),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            GHMCLoss(**options)

    @pytest.mark.parametrize('mu', [0, -1.0, math.nan])
    def test_mu(self, mu):
        with pytest.raises(ValueError, match='GHMRLoss: mu must be above 0'):
            GHMRLoss(mu=mu)

    @pytest.mark.parametrize(
        ('target', 'weight', 'message'),
        [
            (torch.zeros(4, dtype=torch.long), None, r'target must have the shape \(5,\), got \(4,\)'),
            (torch.zeros(5, 2), None, r'target must have the shape \(5, 3\), got \(5, 2\)'),
            (torch.zeros(1, 5, 3), None, r'takes labels \(N,\) or dense targets \(N, C\), got \(1, 5, 3\)'),
            (torch.zeros(5), None, r'labels must be integers, got torch.float32'),
            (torch.tensor([0, 1, 2, 3, 4]), None, r'labels must be in 0 ... 3 where the weight is above 0, got 4'),
            (torch.tensor([0, 1, -1, 3, 3]), torch.ones(5), r'labels must be in 0 ... 3 .* got -1'),
            (
                torch.zeros(5).long(),
                torch.ones(4),
                r'weight must have the shape \(5, 3\) or \(5,\) or \(5, 1\), got \(4,\)',
            ),
        ],
    )
    def test_input(self, target, weight, message):
        with pytest.raises(ValueError, match=message):
            GHMCLoss(10)(torch.zeros(5, 3), target, weight)

    def test_input_of_softmax(self):
        loss = GHMCLoss(10, use_sigmoid=False)
        with pytest.raises(ValueError, match=r'of shape \(5, 3\) takes labels \(N,\), got \(5, 3\)'):
            loss(torch.zeros(5, 3), torch.zeros(5, 3))
        with pytest.raises(ValueError, match=r'labels must be in 0 ... 2 .*, got 3'):
            loss(torch.zeros(5, 3), torch.full((5,), 3))
        with pytest.raises(ValueError, match=r'weight must have the shape \(5,\) or \(5, 1\), got \(5, 3\)'):
            loss(torch.zeros(5, 3), torch.zeros(5).long(), torch.ones(5, 3))

    def test_input_of_regression(self):
        with pytest.raises(ValueError, match=r'GHM-R: target must have the shape \(5, 4\), got \(5, 1\)'):
            GHMRLoss()(torch.zeros(5, 4), torch.zeros(5, 1))
        with pytest.raises(ValueError, match="reduction_override must be one of 'none', 'mean', 'sum', got 'max'"):
            GHMRLoss()(torch.zeros(5, 4), torch.zeros(5, 4), reduction_override='max')


SPLITS = {'even': (50, 50), 'uneven': (97, 3), 'empty': (100, 0)}
LOSSES = {
    'plain': lambda: GHMCLoss(10),
    'momentum': lambda: GHMCLoss(10, 0.75, loss_weight=2.0),
    'class_aware': lambda: GHMCLoss(10, 0.75, class_aware=True),
    'softmax': lambda: GHMCLoss(10, use_sigmoid=False),
    'sum': lambda: GHMCLoss(10, reduction='sum'),
    'boxes': lambda: GHMRLoss(momentum=0.5),
}


def steps(name, rows):
    """Two steps on these rows of two batches: loss, gradients and buffers of the second."""
    loss = LOSSES[name]()
    for seed in range(2):
        pred, target, weight = make_boxes(100, seed) if name == 'boxes' else make_scores(100, seed=seed)
        target = target.clamp(max=3) if name == 'softmax' else target
        part = pred.detach()[rows].requires_grad_()
        value, grad = value_and_grad(loss, part, target[rows], weight[rows])
    return value, grad, dict(loss.named_buffers())


def _rank(rank, address, folder):
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=address, rank=rank, world_size=2)
    parts = {split: [slice(0, n), slice(n, None)][rank] for split, (n, _) in SPLITS.items()}
    results = {(name, split): steps(name, rows) for name in LOSSES for split, rows in parts.items()}
    # On its own: no other rank is waited for.
    alone = GHMCLoss(10, all_reduce=False)
    unread = GHMCLoss(10).eval()
    if rank == 0:
        results['alone'] = alone(*make_scores(100)), unread(*make_scores(100))
    torch.save(results, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


def test_two_ranks_equal_one_with_both_batches(tmp_path):
    torch.multiprocessing.spawn(_rank, (f'file://{tmp_path}/meet', str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f'{rank}.pth') for rank in range(2)]
    for name in LOSSES:
        value, grad, buffers = steps(name, slice(None))
        # DDP averages over ranks; a sum is a sum.
        share = 1 if name == 'sum' else 2
        for split in SPLITS:
            values, grads, stored = zip(*(rank[name, split] for rank in ranks), strict=True)
            assert_close(sum(values) / share, value)
            assert_close(torch.cat(grads) / share, grad)
            assert_close(stored[0], buffers)
            assert_close(stored[1], buffers)
    assert_close(ranks[0]['alone'], (GHMCLoss(10)(*make_scores(100)),) * 2)
