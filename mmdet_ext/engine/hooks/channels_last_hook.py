"""Channels last: the memory format in which convolutions are fast on CPUs and with half precision on GPUs."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.optim import Optimizer


def use_channels_last(model: nn.Module) -> nn.Module:
    """Put the kernels of all two-dimensional convolutions into channels last, in place.

    That is enough: a convolution whose kernel is in channels last gives a map in channels last, and activations, norms
    and pooling leave it so. Layers of `mmcv.ops` (RoIAlign, deformable convolution) read memory as it lies, and give
    wrong numbers without a word on such maps: they keep their kernels and get their inputs in the plain format. So do
    strided 1x1 convolutions of channels that are no multiple of 16: on a CPU the backward pass of torch 2.13 writes
    beyond its memory there.

    Args:
        model: Any module; its parameters stay the same objects, so an optimizer may have been built before.

    Returns:
        The module.
    """
    _convert(model)
    return model


def _convert(module: nn.Module) -> None:
    if type(module).forward.__module__.startswith('mmcv.ops') or _crashes(module):
        if _plain_inputs not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(_plain_inputs)
        return
    # FSDP keeps weights elsewhere, flat.
    weight = module._parameters.get('weight') if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) else None
    if weight is not None and weight.dim() == 4:
        weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    for child in module.children():
        _convert(child)


def _crashes(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and any(channels // module.groups % 16 for channels in (module.in_channels, module.out_channels))
    )


def _plain_inputs(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(arg.contiguous() if isinstance(arg, Tensor) else arg for arg in args)


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains and tests in channels last: `custom_hooks=[dict(type='ChannelsLastHook')]`.

    Losses and weights are those of the other format but for rounding, and checkpoints are written in the plain one.
    Operators of `mmcv.ops` that a module of your own calls as functions must be given contiguous maps. On several GPUs
    torch warns that strides of gradients do not match, and copies them: in the first step, in all of them with
    `find_unused_parameters`.

    """

    priority = 'VERY_HIGH'

    # Not before_run: random weights are drawn in the order of memory, and would be other ones for the same seed.
    def before_train(self, runner: Runner) -> None:
        """Convert the model, once its weights are initialized or loaded, and what the optimizer has resumed."""
        self.before_test(runner)
        for optimizer in _optimizers(runner):
            # Fused steps go through parameter and state as both lie in memory.
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        state[key] = torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)

    def before_test(self, runner: Runner) -> None:
        """Convert the model."""
        use_channels_last(runner.model)

    before_val = before_test

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write weights and the optimizer's state in the plain format, as every reader expects them."""
        for part in ('state_dict', 'ema_state_dict', 'optimizer'):
            if part in checkpoint:
                checkpoint[part] = _plain(checkpoint[part])


def _optimizers(runner: Runner) -> Iterator[Optimizer]:
    wrapper = runner.optim_wrapper
    for each in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
        yield each.optimizer


def _plain(content: Any) -> Any:
    """The same with contiguous tensors; the state of the optimizer itself stays as it is."""
    if isinstance(content, Tensor):
        return content.contiguous()
    if isinstance(content, dict):
        content = copy.copy(content)
        for key, value in content.items():
            content[key] = _plain(value)
    return content
