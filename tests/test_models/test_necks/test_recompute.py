"""Activations computed again: the same gradients, the same statistics, less kept."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.necks.recompute import recomputed, unchanged_statistics


def block(**norm):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, **norm), nn.LeakyReLU(0.1), nn.Conv2d(4, 2, 3))


def learn(module, run, needs_grad=True):
    torch.manual_seed(1)
    x = torch.randn(2, 3, 7, 7, requires_grad=needs_grad)
    out = run(module, x)
    out.square().sum().backward()
    return [out, x.grad, *(parameter.grad for parameter in module.parameters())]


def plainly(module, x):
    return module(x)


@pytest.mark.parametrize('norm', [{}, dict(momentum=None), dict(track_running_stats=False)])
@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('needs_grad', [True, False])
def test_gradients_and_statistics_are_those_of_a_plain_step(norm, training, needs_grad):
    plain, saving = block(**norm).train(training), block(**norm).train(training)
    for _ in range(2):
        assert_close(learn(saving, recomputed, needs_grad), learn(plain, plainly, needs_grad))
    assert_close(saving.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert saving[1].track_running_stats == norm.get('track_running_stats', True)


def kept(run, needs_grad):
    """Elements that the graph of a forward pass holds, `x` not among them."""
    found = []
    x = torch.randn(2, 3, 7, 7, requires_grad=needs_grad)

    def pack(value):
        found.append(value.numel() if value is not x else 0)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        run(block(), x)
    return sum(found)


@pytest.mark.parametrize('needs_grad', [True, False])
def test_nothing_is_kept(needs_grad):
    assert kept(plainly, needs_grad) > 2 * 4 * 5 * 5
    assert kept(recomputed, needs_grad) == 0


@pytest.mark.parametrize(('grad', 'calls'), [(True, 2), (False, 1)])
def test_how_often_it_is_computed(grad, calls):
    module, seen = block(), []
    module[0].register_forward_hook(lambda *_: seen.append(1))
    with torch.set_grad_enabled(grad):
        out = recomputed(module, torch.randn(1, 3, 7, 7))
        if grad:
            out.sum().backward()
    assert len(seen) == calls
    assert out.requires_grad == grad


def test_statistics_are_put_back_after_an_error():
    module, seen = block(), []
    buffers = dict(module.named_buffers())
    before = {name: value.clone() for name, value in buffers.items()}
    module[3].register_forward_hook(lambda *_: seen.append(module[1].running_mean.clone()))
    with pytest.raises(RuntimeError, match='channels'), unchanged_statistics(module):
        module[3:](module(torch.randn(1, 3, 7, 7)))
    assert not torch.equal(seen[0], before['1.running_mean'])
    assert all(value is buffers[name] for name, value in module.named_buffers())
    assert_close(buffers, before, rtol=0, atol=0)


def test_autocast_is_remembered():
    module = block()
    with torch.autocast('cpu', torch.bfloat16):
        saving = recomputed(module, torch.randn(1, 3, 7, 7))
    assert saving.dtype == torch.bfloat16
    saving.float().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in module.parameters())
