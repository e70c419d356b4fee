"""Channels last changes the format of kernels and maps, and no number."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS
from torch import nn

from mmdet_ext.engine.hooks.channels_last_hook import use_channels_last
from tests.tiny_coco import tiny_run


def is_channels_last(x):
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 3))


def test_maps_follow_the_kernels():
    model, other = network(), network()
    image = torch.rand(2, 3, 20, 16)
    kernel = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    assert use_channels_last(model) is model
    assert model[0].weight is kernel
    assert is_channels_last(kernel)
    maps = []
    for layer in model:
        layer.register_forward_hook(lambda _, args, out: maps.append(out))
    model(image).square().sum().backward()
    other(image).square().sum().backward()
    assert [is_channels_last(x) for x in maps] == [True] * 5
    # The optimizer that was built before moves the same parameters.
    torch.testing.assert_close(kernel.grad, other[0].weight.grad)
    optimizer.step()
    torch.testing.assert_close(kernel, other[0].weight - 0.1 * other[0].weight.grad)
    # Checkpoints load either way.
    other.load_state_dict(model.state_dict())
    assert torch.equal(other[0].weight, kernel)
    assert other[0].weight.is_contiguous()


def test_layers_without_kernels_stay():
    model = nn.Sequential(nn.Linear(3, 4), nn.Conv1d(4, 4, 1))
    use_channels_last(model)
    assert all(p.is_contiguous() for p in model.parameters())


def test_a_training(tmp_path):
    run = tiny_run()
    options = {'custom_hooks': [dict(type='ChannelsLastHook')]}
    losses, state = run.train(work_dir=tmp_path / 'run', cfg_options=options)
    # The same random weights; then rounding grows, and changes the order of proposals that are equally good.
    assert losses[0] == pytest.approx(run.losses[0], rel=1e-5)
    assert losses == pytest.approx(run.losses, rel=2e-2)
    assert losses != run.losses
    assert any(is_channels_last(value) for value in state.values() if value.dim() == 4)


@pytest.mark.parametrize(('device', 'cpu_only', 'converted'), [
    ('cpu', False, True), ('cpu', True, True), ('meta', False, True), ('meta', True, False),
])  # fmt: skip
def test_where(device, cpu_only, converted):
    """A model on another device than the CPU stands for one on a GPU."""
    model = network().to(device)
    HOOKS.build(dict(type='ChannelsLastHook', cpu_only=cpu_only)).before_train(SimpleNamespace(model=model))
    assert is_channels_last(model[0].weight) == converted
