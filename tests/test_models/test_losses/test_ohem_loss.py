"""OHEM: which priors are picked, what they are divided by, and any loss inside."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import MODELS
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from mmdet_ext.models.losses import OHEMLoss
from mmdet_ext.models.losses.ohem_loss import select_hard_examples

SOFTMAX = dict(type='CrossEntropyLoss', use_sigmoid=False)
SIGMOID = dict(type='CrossEntropyLoss', use_sigmoid=True)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
WRAPPED = pytest.mark.parametrize('wrapped', [SOFTMAX, SIGMOID, FOCAL], ids=['softmax', 'sigmoid', 'focal'])


def batch(wrapped, images=3, priors=40, classes=3, seed=0, dtype=torch.float32):
    """Logits, labels and weights with ignored priors; the last image has no positives."""
    generator = torch.Generator().manual_seed(seed)
    columns = classes if wrapped['use_sigmoid'] else classes + 1
    pred = torch.randn(images, priors, columns, generator=generator, dtype=dtype)
    target = torch.full((images, priors), classes)
    for image in range(images - 1):
        places = torch.randperm(priors, generator=generator)[: 2 + image]
        target[image, places] = torch.randint(classes, (2 + image,), generator=generator)
    weight = (torch.rand(images, priors, generator=generator) > 0.2).to(dtype)
    return pred, target, weight


def slow_ohem(loss, positive, negative, ratio, min_neg):
    """One image after the other, one prior after the other."""
    picked = torch.zeros_like(positive)
    for image in range(len(loss)):
        number = int(positive[image].sum())
        wanted = math.floor(number * ratio) if number else min_neg
        ranked = sorted((i for i in range(loss.shape[1]) if negative[image, i]), key=lambda i: (-loss[image, i], i))
        picked[image, ranked[:wanted]] = True
    return picked | positive


class TestSelection:
    @settings(deadline=None, max_examples=60)
    @given(st.data(), st.sampled_from([0, 0.5, 1, 2.5, 3]), st.integers(0, 4))
    def test_equals_the_loop(self, data, ratio, min_neg):
        images, priors = data.draw(st.integers(0, 3)), data.draw(st.integers(0, 12))
        # Few values: many ties.
        draw = [data.draw(st.lists(st.integers(0, 3), min_size=priors, max_size=priors)) for _ in range(images)]
        kind = [data.draw(st.lists(st.integers(0, 2), min_size=priors, max_size=priors)) for _ in range(images)]
        loss = torch.tensor(draw, dtype=torch.float32).view(images, priors)
        kind = torch.tensor(kind, dtype=torch.long).view(images, priors)
        positive, negative = kind == 1, kind == 0
        got = select_hard_examples(loss, positive, negative, ratio, min_neg)
        assert_close(got, slow_ohem(loss, positive, negative, ratio, min_neg))

    def test_ties_go_by_index_and_nan_comes_first(self):
        loss = torch.tensor([[1.0, 2, 2, 2, float('nan'), 0]])
        positive = torch.tensor([[True, False, False, False, False, False]])
        picked = select_hard_examples(loss, positive, ~positive, 3)
        assert picked.tolist() == [[True, True, True, False, True, False]]

    def test_ratio_is_rounded_down_and_may_be_infinite(self):
        positive = torch.arange(10).ge(7)[None]
        for ratio, expected in ((0.5, 4), (1.4, 7), (0, 3), (math.inf, 10)):
            picked = select_hard_examples(torch.rand(1, 10), positive, ~positive, ratio)
            assert picked.sum() == expected


class TestValues:
    def test_closed_form(self):
        """One positive, one negative per positive: the harder of two; the ignored one is harder still."""
        pred = torch.tensor([[[2.0, 0], [0, 1], [0, 0], [9, 0]]])
        target, weight = torch.tensor([[0, 1, 1, 1]]), torch.tensor([[1.0, 1, 1, 0]])
        loss = OHEMLoss(SOFTMAX, neg_pos_ratio=1)(pred, target, weight)
        assert_close(loss.item(), math.log1p(math.exp(-2)) + math.log(2), rtol=1e-6, atol=0)

    @WRAPPED
    def test_equals_the_loop_with_losses_of_mmdet(self, wrapped):
        pred, target, weight = batch(wrapped)
        weight = weight * torch.rand_like(weight)
        plain = MODELS.build({**wrapped, 'reduction': 'none'})
        values = torch.stack([plain(p, t).reshape(40, -1).sum(1) for p, t in zip(pred, target, strict=True)])
        positive = (target != 3) & (weight > 0)
        negative = (target == 3) & (weight > 0)
        picked = slow_ohem(values, positive, negative, 3, 5)
        expected = values * weight * picked
        loss = OHEMLoss(wrapped, min_neg=5, loss_weight=2.0)
        assert_close(loss(pred, target, weight, reduction_override='none'), 2 * expected)
        assert_close(loss(pred, target, weight, reduction_override='sum'), 2 * expected.sum())
        assert_close(loss(pred, target, weight), 2 * expected.sum() / positive.sum())
        assert_close(loss(pred, target, weight, avg_factor=4.0), 2 * expected.sum() / 4)
        assert_close(loss(pred, target, weight, torch.tensor(4.0)), 2 * expected.sum() / 4)
        assert picked.sum(1)[-1] == 5

    def test_selection_looks_at_the_loss_without_its_weight(self):
        pred = torch.tensor([[[3.0, 0], [0, 0], [1, 0]]])
        weight = torch.tensor([[1.0, 1, 0.01]])
        loss = OHEMLoss(SOFTMAX, neg_pos_ratio=1, reduction='none')(pred, torch.tensor([[0, 1, 1]]), weight)
        assert loss[0, 1] == 0
        assert_close(loss[0, 2].item(), 0.01 * math.log1p(math.e), rtol=1e-5, atol=0)

    def test_gradcheck_with_the_selection_as_a_constant(self):
        """Steps of 1e-6 change no rank here, so the selection is one."""
        for wrapped in (SOFTMAX, FOCAL):
            pred, target, weight = batch(wrapped, priors=10, dtype=torch.float64)
            loss = OHEMLoss(wrapped)
            assert torch.autograd.gradcheck(lambda p: loss(p, target, weight), pred.requires_grad_())  # noqa: B023

    def test_wrapped_loss_weight_counts(self):
        pred, target, weight = batch(SOFTMAX)
        loss = OHEMLoss({**SOFTMAX, 'loss_weight': 3.0, 'reduction': 'sum'})(pred, target, weight)
        assert_close(loss, 3 * OHEMLoss(SOFTMAX)(pred, target, weight))


class TestWhatCounts:
    @WRAPPED
    def test_ignored_priors_have_no_effect_whatever_they_hold(self, wrapped):
        pred, target, weight = batch(wrapped)
        expected = OHEMLoss(wrapped)(pred, target, weight)
        ignored = weight == 0
        pred = pred.masked_fill(ignored[..., None], 1e4)
        target = target.masked_fill(ignored, -1)
        pred.requires_grad_()
        loss = OHEMLoss(wrapped)(pred, target, weight)
        assert_close(loss, expected)
        loss.backward()
        assert (pred.grad[ignored] == 0).all()
        assert pred.grad.isfinite().all()

    @WRAPPED
    def test_only_the_picked_have_a_gradient(self, wrapped):
        pred, target, weight = batch(wrapped)
        pred.requires_grad_()
        loss = OHEMLoss(wrapped, reduction='none')(pred, target, weight)
        loss.sum().backward()
        assert_close(pred.grad.abs().sum(-1) > 0, loss > 0)
        # 3 : 1 in images with positives, 3 in the one without.
        positives = ((target != 3) & (weight > 0)).sum(1)
        assert_close((loss > 0).sum(1), torch.where(positives > 0, 4 * positives, 3))

    @pytest.mark.parametrize('min_neg', [0, 1, 7, 1000])
    def test_no_positives(self, min_neg):
        pred, _, weight = batch(SOFTMAX)
        target = torch.full_like(weight, 3, dtype=torch.long)
        pred.requires_grad_()
        loss = OHEMLoss(SOFTMAX, min_neg=min_neg)(pred, target, weight)
        values = F.cross_entropy(pred.flatten(0, 1), target.flatten(), reduction='none').view_as(weight) * weight
        hardest = [row.sort(descending=True).values[:min_neg].sum() for row in values]
        # The default divisor is 1 then.
        assert_close(loss, sum(hardest))
        loss.backward()
        assert pred.grad.isfinite().all()

    def test_an_image_without_priors_that_count(self):
        pred, target, weight = batch(SOFTMAX)
        weight[0] = 0
        loss = OHEMLoss(SOFTMAX, reduction='none')(pred, target, weight)
        assert (loss[0] == 0).all()
        assert_close(loss[1:], OHEMLoss(SOFTMAX, reduction='none')(pred[1:], target[1:], weight[1:]))

    @WRAPPED
    def test_images_do_not_see_each_other(self, wrapped):
        pred, target, weight = batch(wrapped)
        loss = OHEMLoss(wrapped, reduction='none')
        alone = torch.stack([loss(*image) for image in zip(pred, target, weight, strict=True)])
        assert_close(loss(pred, target, weight), alone)
        order = torch.tensor([2, 0, 1])
        assert_close(loss(pred[order], target[order], weight[order]), alone[order])

    def test_order_of_priors_does_not_matter(self):
        pred, target, weight = batch(SOFTMAX)
        order = torch.randperm(40)
        expected = OHEMLoss(SOFTMAX)(pred, target, weight)
        assert_close(OHEMLoss(SOFTMAX)(pred[:, order], target[:, order], weight[:, order]), expected)

    def test_no_weight_is_a_weight_of_one(self):
        pred, target, weight = batch(SOFTMAX)
        assert_close(OHEMLoss(SOFTMAX)(pred, target), OHEMLoss(SOFTMAX)(pred, target, torch.ones_like(weight)))


class TestEmptyAndTypes:
    @WRAPPED
    @pytest.mark.parametrize('shape', [(0, 5), (2, 0), (0,)])
    @pytest.mark.parametrize('reduction', ['none', 'mean', 'sum'])
    def test_no_priors_give_a_zero_with_a_graph(self, wrapped, shape, reduction):
        pred = torch.zeros(*shape, 4, requires_grad=True)
        loss = OHEMLoss(wrapped)(pred, torch.zeros(shape, dtype=torch.long), torch.zeros(shape), None, reduction)
        assert loss.shape == (shape if reduction == 'none' else ())
        assert loss.sum() == 0
        loss.sum().backward()
        assert pred.grad.shape == pred.shape

    @WRAPPED
    @pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
    def test_half_precision_is_computed_in_float32(self, wrapped, dtype):
        pred, target, weight = batch(wrapped)
        pred = (pred * 50).to(dtype).requires_grad_()
        loss = OHEMLoss(wrapped)(pred, target, weight)
        with torch.autocast('cpu', torch.bfloat16):
            inside = OHEMLoss(wrapped)(pred, target, weight)
        expected = OHEMLoss(wrapped)(pred.detach().float(), target, weight)
        for value in (loss, inside):
            assert value.dtype is torch.float32
            assert_close(value, expected)
        loss.backward()
        assert pred.grad.isfinite().all()

    def test_float64_stays(self):
        for wrapped in (SOFTMAX, FOCAL):
            pred, target, weight = batch(wrapped, dtype=torch.float64)
            assert OHEMLoss(wrapped)(pred, target, weight).dtype is torch.float64

    def test_binary_cross_entropy_gets_one_hot_labels_unless_it_ignores_one(self, monkeypatch):
        """Given labels, mmdet calls `nonzero`, for which a GPU has to stop."""
        pred, target, weight = batch(SIGMOID)
        ignoring = dict(SIGMOID, ignore_index=255)
        expected = OHEMLoss(ignoring)(pred, target, weight)
        calls, nonzero = [], torch.nonzero
        monkeypatch.setattr(torch, 'nonzero', lambda *args, **kwargs: calls.append(1) or nonzero(*args, **kwargs))
        assert_close(OHEMLoss(SIGMOID)(pred, target, weight), expected)
        assert not calls
        OHEMLoss(ignoring)(pred, target, weight)
        assert calls

    def test_a_training_step_by_config(self):
        torch.manual_seed(0)
        loss = MODELS.build(dict(type='OHEMLoss', loss=SOFTMAX, neg_pos_ratio=2, min_neg=1))
        pred, target, weight = batch(SOFTMAX)
        layer = nn.Linear(4, 4)
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.2)
        trace = []
        for _ in range(20):
            trace.append(loss(layer(pred), target, weight))
            optimizer.zero_grad()
            trace[-1].backward()
            optimizer.step()
        assert trace[-1] < 0.8 * trace[0]


@MODELS.register_module()
class OneValueLoss(nn.Module):
    """A loss that knows no `reduction='none'`."""

    def __init__(self, reduction):
        super().__init__()

    def forward(self, pred, target):
        return pred.sum()


class TestBadInput:
    @pytest.mark.parametrize(
        ('options', 'words'),
        [
            (dict(neg_pos_ratio=-1), 'neg_pos_ratio=-1, must be 0 or more'),
            (dict(neg_pos_ratio=math.nan), 'neg_pos_ratio=nan, must be 0 or more'),
            (dict(min_neg=-1), 'min_neg=-1, must be 0 or a whole number'),
            (dict(min_neg=1.5), 'min_neg=1.5, must be 0 or a whole number'),
            (dict(min_neg=math.inf), 'min_neg=inf, must be 0 or a whole number'),
            (dict(reduction='avg'), r"reduction='avg', allowed are \('none', 'mean', 'sum'\)"),
            (dict(loss=dict(type='CrossEntropyLoss', use_mask=True)), 'is a loss of masks'),
            (dict(loss=dict(type='VarifocalLoss')), 'loss=VarifocalLoss wants soft targets, .*and gets labels'),
            (dict(loss=dict(FOCAL, activated=True)), 'has an activation of its own; a sigmoid or softmax loss'),
            (dict(loss=dict(type='SeesawLoss')), 'has an activation of its own; a sigmoid or softmax loss'),
            (dict(use_sigmoid=True), 'use_sigmoid=True, but that of CrossEntropyLoss in `loss` is False'),
            (dict(loss=FOCAL, use_sigmoid=False), 'use_sigmoid=False, but that of FocalLoss in `loss` is True'),
        ],
    )
    def test_options(self, options, words):
        with pytest.raises(ValueError, match=words):
            OHEMLoss(**{'loss': SOFTMAX, **options})

    def test_use_sigmoid_may_be_repeated_and_is_known(self):
        assert OHEMLoss(FOCAL, use_sigmoid=True).use_sigmoid is True
        assert OHEMLoss(SOFTMAX).use_sigmoid is False

    @pytest.mark.parametrize(
        ('pred', 'target'), [((2, 5, 4), (2, 4)), ((5, 4), (1, 5)), ((5,), ()), ((1, 2, 5, 4),) * 2]
    )
    def test_shapes(self, pred, target):
        with pytest.raises(
            ValueError, match=r'OHEMLoss: predictions \(.*and labels \(.*\(N, C\) and \(N,\) of one image'
        ):
            OHEMLoss(SOFTMAX)(torch.zeros(pred), torch.zeros(target, dtype=torch.long))

    def test_weight_of_another_shape(self):
        pred, target, weight = batch(SOFTMAX)
        with pytest.raises(ValueError, match=r'weight \(2, 40\) for labels \(3, 40\), must be of the same shape'):
            OHEMLoss(SOFTMAX)(pred, target, weight[:2])

    @pytest.mark.parametrize(('wrapped', 'label'), [(SOFTMAX, 4), (SOFTMAX, -1), (FOCAL, 4), (FOCAL, -1), (SIGMOID, 9)])
    def test_labels_out_of_range(self, wrapped, label):
        pred, target, _ = batch(wrapped)
        target[1, 5] = label
        with pytest.raises(ValueError, match=rf'OHEMLoss: labels must be in 0 ... 3 .*got {label}'):
            OHEMLoss(wrapped)(pred, target)

    def test_labels_are_integers_of_any_kind(self):
        for wrapped in (SOFTMAX, SIGMOID, FOCAL):
            pred, target, weight = batch(wrapped)
            assert_close(OHEMLoss(wrapped)(pred, target.int(), weight), OHEMLoss(wrapped)(pred, target, weight))
        with pytest.raises(ValueError, match=r'OHEMLoss: labels must be integers, got torch.float32'):
            OHEMLoss(SOFTMAX)(*batch(SOFTMAX)[:1], torch.zeros(3, 40))

    def test_reduction(self):
        arguments = batch(SOFTMAX)
        with pytest.raises(ValueError, match="reduction='max'"):
            OHEMLoss(SOFTMAX)(*arguments, reduction_override='max')
        with pytest.raises(ValueError, match='avg_factor can not be used with reduction="sum"'):
            OHEMLoss(SOFTMAX, reduction='sum')(*arguments, avg_factor=2)

    def test_a_loss_without_values_of_priors(self):
        with pytest.raises(ValueError, match=r'OneValueLoss gives \(\) for logits \(120, 4\)'):
            OHEMLoss(dict(type='OneValueLoss'))(*batch(SOFTMAX))
