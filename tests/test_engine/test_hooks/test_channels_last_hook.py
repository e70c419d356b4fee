"""Channels last changes the format of kernels and maps, and no number."""

import copy
import functools
from types import SimpleNamespace

import pytest
import torch
from mmcv import ops
from mmdet.registry import HOOKS, MODELS
from mmengine.optim import OptimWrapper
from torch import nn

from mmdet_ext.engine.hooks.channels_last_hook import ChannelsLastHook, use_channels_last
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


def test_layers_without_such_kernels_stay():
    model = nn.Sequential(nn.Linear(3, 4), nn.Conv1d(4, 4, 1), nn.Conv3d(2, 2, 2))
    use_channels_last(model)
    assert all(p.is_contiguous() for p in model.parameters())


@pytest.mark.parametrize('kind', ['SingleRoIExtractor', 'FastRoIExtractor'])
def test_roi_align_gets_maps_as_it_reads_them(kind, device):
    """mmcv's reads memory as it lies: without care its features are those of other places."""
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 6, 3, padding=1)
    layer = dict(type='RoIAlign', output_size=5, sampling_ratio=0)
    extractor = MODELS.build(dict(type=kind, roi_layer=layer, out_channels=6, featmap_strides=[1]))
    model = nn.ModuleList([conv, extractor]).to(device)
    image = torch.rand(1, 3, 24, 20, device=device)
    rois = torch.tensor([[0, 2.0, 3, 15, 17], [0, 8, 1, 19, 12]], device=device)
    wanted = extractor((conv(image),), rois)
    for _ in range(2):
        use_channels_last(model)
        assert is_channels_last(conv(image))
        torch.testing.assert_close(extractor((conv(image),), rois), wanted, rtol=1e-4, atol=1e-5)
    hooks = len(extractor.roi_layers[0]._forward_pre_hooks)
    assert hooks == (kind == 'SingleRoIExtractor')


def test_deformable_convolution_stays_as_it_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), ops.ModulatedDeformConv2dPack(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3))
    # They start at zero: no place would be moved.
    nn.init.normal_(model[1].conv_offset.weight, std=0.1)
    image = torch.rand(1, 3, 16, 12)
    wanted = model(image)
    use_channels_last(model)
    assert is_channels_last(model[0].weight)
    assert model[1].conv_offset.weight.is_contiguous()
    torch.testing.assert_close(model(image), wanted, rtol=1e-4, atol=1e-5)


def runner_of(model, optimizer):
    return SimpleNamespace(model=model, optim_wrapper=OptimWrapper(optimizer))


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('kind', [functools.partial(torch.optim.SGD, momentum=0.9), torch.optim.AdamW])
def test_an_optimizer_goes_on_with_what_it_resumed(kind, fused):
    image = torch.rand(2, 3, 20, 16)

    def steps(model, optimizer, number):
        for _ in range(number):
            optimizer.zero_grad()
            model(image).square().sum().backward()
            optimizer.step()

    model = network()
    optimizer = kind(model.parameters(), lr=1e-2, fused=fused)
    steps(model, optimizer, 2)
    # Otherwise both count the same steps.
    state = copy.deepcopy(optimizer.state_dict())
    resumed = network()
    resumed.load_state_dict(model.state_dict())
    other = kind(resumed.parameters(), lr=1e-2, fused=fused)
    other.load_state_dict(state)
    ChannelsLastHook().before_train(runner_of(resumed, other))
    steps(model, optimizer, 2)
    steps(resumed, other, 2)
    for parameter, wanted in zip(resumed.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(parameter, wanted, rtol=1e-3, atol=1e-4)


def test_checkpoints_are_plain():
    model = use_channels_last(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
    model(torch.rand(2, 3, 20, 16)).sum().backward()
    optimizer.step()
    checkpoint = {'meta': {}, 'state_dict': model.state_dict(), 'optimizer': optimizer.state_dict()}
    ChannelsLastHook().before_save_checkpoint(None, checkpoint)
    saved = checkpoint['state_dict'] | {str(key): state['momentum_buffer'] for key, state in
                                        checkpoint['optimizer']['state'].items()}  # fmt: skip
    assert len(saved) == 12
    assert all(value.is_contiguous() for value in saved.values())
    torch.testing.assert_close(checkpoint['state_dict'], model.state_dict())
    assert checkpoint['state_dict']._metadata == model.state_dict()._metadata
    # What goes on training stays in channels last.
    assert is_channels_last(model[0].weight)
    assert is_channels_last(optimizer.state[model[0].weight]['momentum_buffer'])


def test_a_training(tmp_path):
    run = tiny_run()
    options = {'custom_hooks': [dict(type='ChannelsLastHook')]}
    losses, state = run.train(work_dir=tmp_path / 'run', cfg_options=options)
    # The same random weights; then rounding grows, and changes the order of proposals that are equally good.
    assert losses[0] == pytest.approx(run.losses[0], rel=1e-5)
    assert losses == pytest.approx(run.losses, rel=2e-2)
    assert losses != run.losses
    assert any(is_channels_last(value) for value in state.values() if value.dim() == 4)


@pytest.mark.parametrize(('inputs', 'outputs'), [(8, 16), (4, 8), (12, 16)])
def test_convolutions_that_crash(inputs, outputs):
    """The backward pass of a strided 1x1 convolution of few channels ends the process in torch 2.13 on a CPU."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, inputs, 3, padding=1), nn.Conv2d(inputs, outputs, 1, stride=2))
    image = torch.rand(4, 3, 64, 64)
    wanted = model(image)
    use_channels_last(model)
    assert is_channels_last(model[0](image))
    found = model(image)
    found.square().sum().backward()
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_it_is_registered():
    model = network()
    HOOKS.build(dict(type='ChannelsLastHook')).before_test(SimpleNamespace(model=model))
    assert is_channels_last(model[0].weight)
