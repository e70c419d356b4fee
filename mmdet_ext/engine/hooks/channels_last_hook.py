"""Channels last: the memory format in which convolutions are fast on CPUs and with half precision on GPUs."""

from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn


def use_channels_last(model: nn.Module) -> nn.Module:
    """Put the kernels of all convolutions into channels last, in place.

    That is enough: a convolution whose kernel is in channels last gives a map in channels last, and activations, norms
    and pooling leave it so. Values do not change, nor do checkpoints, which load either way.

    Args:
        model: Any module; its parameters stay the same objects, so an optimizer may have been built before.

    Returns:
        The module.
    """
    # A form of `to` that torch's overloads leave out.
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Trains and tests in channels last: `custom_hooks=[dict(type='ChannelsLastHook')]`.

    Losses and weights are those of the other format but for rounding. On several GPUs torch warns once, in the first
    step, that strides of gradients do not match: it lays out its buckets anew after it.
    """

    # Before the copy that EMAHook makes of the model.
    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Convert the model, before weights are initialized or loaded into it."""
        use_channels_last(runner.model)
