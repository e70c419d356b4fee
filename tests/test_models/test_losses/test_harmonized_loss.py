"""Value and gradient by bins: entry losses, and what `harmonize` makes of them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmdet_ext.models.losses import harmonized_loss as module
from mmdet_ext.models.losses.harmonized_loss import AuthenticSmoothL1, SigmoidCrossEntropy, compute_dtype, harmonize

from .ghm_case import make_boxes, make_scores, one_hot

ALL = slice(None)


def entries(kind, valid=None):
    pred, labels, _ = make_scores(20)
    if kind == 'labels':
        return pred, SigmoidCrossEntropy(pred, labels, valid)
    if kind == 'dense':
        return pred, SigmoidCrossEntropy(pred, torch.rand_like(pred).detach(), valid)
    pred, target, _ = make_boxes(20)
    return pred, AuthenticSmoothL1(pred, target, 0.02, valid)


@pytest.mark.parametrize('kind', ['labels', 'dense', 'boxes'])
class TestEntries:
    def test_derivative_is_that_of_the_value(self, kind):
        torch.manual_seed(0)
        _, loss = entries(kind)
        value, derivative = loss.evaluate(ALL)
        ends = []
        for step in (1e-6, -1e-6):
            torch.manual_seed(0)
            moved, other = entries(kind)
            with torch.no_grad():
                moved += step
            ends.append(other.evaluate(ALL)[0])
        assert_close((ends[0] - ends[1]) / 2e-6, derivative, rtol=1e-6, atol=1e-7)
        assert_close(loss.derivative(ALL), derivative)
        part = slice(3, 7)
        assert_close(loss.evaluate(part), (value[part], derivative[part]))

    def test_what_is_not_valid_is_not_read(self, kind):
        valid = torch.rand(20, 4) < 0.5
        pred, loss = entries(kind, valid)
        value, derivative = loss.evaluate(ALL)
        with torch.no_grad():
            pred[~valid] = torch.nan
        assert_close(loss.evaluate(ALL), (value, derivative))
        torch.manual_seed(0)
        whole = entries(kind)[1].evaluate(ALL)
        if kind != 'dense':
            assert_close(value[valid], whole[0][valid])

    def test_harmonize_sums_in_chunks(self, kind, monkeypatch):
        monkeypatch.setattr(module, 'CHUNK', 12)
        pred, loss = entries(kind)
        table, seen = torch.rand(40, dtype=torch.float64), []
        weight = torch.rand(20, 1, dtype=torch.float64) * (torch.arange(20)[:, None] % 3 > 0)
        value, derivative = loss.evaluate(ALL)
        index = (derivative.abs() * 10).long().clamp(max=9) + torch.arange(0, 40, 10)
        factor = table[index] * weight
        for elementwise in (False, True):
            result = harmonize(
                pred, loss, lambda counts: seen.append(counts) or table, 10, 4, weight, elementwise=elementwise
            )
            assert_close(result, (value * factor) if elementwise else (value * factor).sum())
            upstream = torch.rand_like(result)
            assert_close(torch.autograd.grad(result, pred, upstream)[0], upstream * derivative * factor)
        counted = torch.bincount(index[weight[:, 0] > 0].flatten(), minlength=40)
        assert [counts.tolist() for counts in seen] == [counted.tolist()] * 2


def test_cross_entropy_is_torchs():
    pred, labels, _ = make_scores(20)
    expected = F.binary_cross_entropy_with_logits(pred, one_hot(labels, 4), reduction='none')
    assert_close(SigmoidCrossEntropy(pred, labels).evaluate(ALL)[0], expected)


@pytest.mark.parametrize('kind', ['labels', 'dense'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_precise_at_both_ends(dtype, kind):
    logits = [-700.0, -90.0, -41.0, -15.0, 0.0, 15.0, 21.0, 39.9, 40.1, 90.0, 800.0]
    pred = torch.tensor([[x, -x] for x in logits], dtype=dtype)
    # Columns of target 0, and of target 1: the same loss.
    target = torch.ones(len(logits), dtype=torch.long)
    expected = torch.tensor([max(x, 0) + math.log1p(math.exp(-abs(x))) for x in logits], dtype=torch.float64)
    loss = SigmoidCrossEntropy(pred, target if kind == 'labels' else F.one_hot(target, 2).to(dtype))
    value = loss.evaluate(ALL)[0].double()
    rtol = 1e-6 if dtype == torch.float32 else 1e-14
    assert_close(value, expected[:, None].expand(-1, 2), rtol=rtol, atol=1e-38)


def test_infinite_logits_of_labels():
    pred = torch.tensor([[-torch.inf, -torch.inf], [torch.inf, -torch.inf]])
    value, derivative = SigmoidCrossEntropy(pred, torch.tensor([2, 0])).evaluate(ALL)
    assert_close(value, torch.zeros(2, 2))
    assert_close(derivative, torch.zeros(2, 2))


def test_gradients_again():
    pred, loss = entries('labels')
    total = harmonize(pred, loss, lambda counts: torch.ones(1, dtype=torch.float64), 1)
    grads = [torch.autograd.grad(scale * total, pred, retain_graph=True)[0] for scale in (1, 3, 1)]
    assert_close(grads[0] * 3, grads[1])
    assert_close(grads[0], grads[2])


def test_gradient_is_scaled_before_it_is_cast():
    pred = torch.zeros(1, 1, dtype=torch.float16, requires_grad=True)
    loss = harmonize(pred, SigmoidCrossEntropy(pred, torch.ones(1, 1)), lambda counts: torch.full((1,), 1e-8), 1)
    assert torch.autograd.grad(loss * 2**20, pred)[0].item() == pytest.approx(-0.5e-8 * 2**20, rel=1e-3)


def test_differentiable_once():
    pred = torch.zeros(1, 1, requires_grad=True)
    loss = harmonize(pred, SigmoidCrossEntropy(pred, torch.ones(1, 1)), lambda counts: torch.ones(1), 1)
    upstream = torch.ones((), requires_grad=True)
    (grad,) = torch.autograd.grad(loss, pred, upstream, create_graph=True)
    with pytest.raises(RuntimeError, match='differentiate twice'):
        grad.sum().backward()


def test_one_chunk_on_a_device():
    pred = torch.zeros(70_000, 3, device='meta')
    assert list(module._chunks(SigmoidCrossEntropy(pred, pred))) == [slice(0, 70_000)]
    assert len(list(module._chunks(SigmoidCrossEntropy(torch.zeros(70_000, 3), torch.zeros(70_000, 3))))) == 2


def test_dtypes():
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    assert [compute_dtype(torch.zeros(1, dtype=kind)) for kind in kinds] == [torch.float32] * 3 + [torch.float64]
