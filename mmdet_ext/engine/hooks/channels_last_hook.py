"""Channels last: the memory format in which convolutions are fast on CPUs and with half precision on GPUs."""

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

    Args:
        cpu_only: Leave a model that is on a GPU as it is: in float32 it need not be faster there.
    """

    priority = 'VERY_HIGH'

    def __init__(self, cpu_only: bool = False) -> None:
        self.cpu_only = cpu_only

    # Not before_run: random weights are drawn in the order of memory, and would be other ones for the same seed.
    def before_train(self, runner: Runner) -> None:
        """Convert the model, once its weights are initialized or loaded."""
        if not self.cpu_only or all(parameter.device.type == 'cpu' for parameter in runner.model.parameters()):
            use_channels_last(runner.model)

    before_val = before_test = before_train
