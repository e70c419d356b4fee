"""Keeps GHM losses to heads that call them as often as they think."""

import logging
from typing import Any

from mmdet.models.roi_heads.bbox_heads import BBoxHead, MultiInstanceBBoxHead
from mmdet.registry import HOOKS, MODELS
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from mmdet_ext.models.losses.gradient_density import GradientDensity

from ..module_outputs import unwrapped


@HOOKS.register_module()
class LossScopeHook(Hook):
    """Refuses a GHM loss whose `scope` does not fit its head, before the first step; without such losses it rests.

    A `'batch'` loss takes a call for the whole batch. Heads that declare `single_call_losses = True` call it so; the
    error names them. So do the box heads of R-CNN (`BBoxHead`, also each stage of a cascade): they score the RoIs of
    all images and levels in one call. Their box loss, though, is skipped on a rank without positives, so that the
    other ranks would wait for its counts for ever: on several ranks it needs `all_reduce=False`.

    With a momentum, a loss has to know whom it averages: a `'batch'` loss may be called once in a step, and for a
    `'level'` loss every step begins with the first level and has to end with the last one.

    It warns where a head predicts by softmax what its loss trains by sigmoid, or the other way round.

    Raises:
        ValueError: before training, a loss in a head that calls it otherwise; after a step, a number of calls that
            does not fit.
    """

    def __init__(self) -> None:
        self._averages: list[tuple[str, GradientDensity]] = []

    def before_train(self, runner: Runner) -> None:
        """Look at every GHM loss of the model."""
        model = unwrapped(runner.model)
        losses = [(name, loss) for name, loss in model.named_modules() if isinstance(loss, GradientDensity)]
        for name, loss in losses:
            owner = _owner(model, name)
            where = f'{type(loss).__name__} at model.{name}, in {type(owner).__name__}'
            if loss.scope == 'batch':
                _check_batch(where, name, loss, owner)
            elif loss.momentum > 0:
                _check_levels(where, loss, owner)
            _check_activation(where, loss, owner)
        self._averages = [(name, loss) for name, loss in losses if loss.momentum > 0]

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """The next call is the first level, whatever an interrupted step or a validation left."""
        for _, loss in self._averages:
            loss.calls = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Every average had its call."""
        for name, loss in self._averages:
            where = f'{type(loss).__name__} at model.{name}'
            if loss.scope == 'batch' and loss.calls > 1:
                raise ValueError(
                    f"{where}: with scope='batch' and a momentum it averages over steps, but was called {loss.calls} "
                    'times in a step, for different things (two classifiers of a head?). Give each its own average: '
                    f"scope='level', num_levels={loss.calls}; or set momentum=0."
                )
            if loss.calls % loss.num_levels:
                raise ValueError(
                    f"{where}: with scope='level' and a momentum, num_levels must be the number of calls in a step. "
                    f'It is {loss.num_levels}, and there were {loss.calls} calls.'
                )


def _owner(model: nn.Module, name: str) -> nn.Module:
    """The nearest module around that has a method for losses: a head, not a loss that wraps another one."""
    module = model
    while name:
        name = name.rpartition('.')[0]
        module = model.get_submodule(name)
        if hasattr(type(module), 'loss') or hasattr(type(module), 'loss_and_target'):
            break
    return module


def single_call_heads() -> list[str]:
    """Names of the registered heads that compute every loss once over all levels."""
    return sorted(name for name, kind in MODELS.module_dict.items() if getattr(kind, 'single_call_losses', False))


def _check_batch(where: str, name: str, loss: GradientDensity, owner: nn.Module) -> None:
    if getattr(owner, 'single_call_losses', False):
        return
    if not isinstance(owner, BBoxHead) or isinstance(owner, MultiInstanceBBoxHead):
        heads = ', '.join([*single_call_heads(), 'BBoxHead and its kind in R-CNN'])
        raise ValueError(
            f"{where}: scope='batch' needs a head that calls the loss once for the whole batch, this one may call it "
            f'once per level or image, and each call would be taken for a batch. Heads that call it once: {heads}. '
            "Use one of them, or set scope='level'; a head of your own that does declares single_call_losses = True."
        )
    if name.endswith('loss_bbox') and loss.all_reduce and get_world_size() > 1:
        raise ValueError(
            f'{where}: this head skips loss_bbox on a rank without positives, the others would wait for its counts for '
            'ever. Set all_reduce=False.'
        )


def _check_levels(where: str, loss: GradientDensity, owner: nn.Module) -> None:
    generator = getattr(owner, 'prior_generator', None)
    if generator is None:
        return
    levels = 1 if getattr(owner, 'single_call_losses', False) else generator.num_levels
    if levels != loss.num_levels:
        raise ValueError(
            f"{where}: with scope='level' and a momentum, num_levels must be the number of calls in a step, which is "
            f'{levels} in this head, got {loss.num_levels}.'
        )


def _check_activation(where: str, loss: GradientDensity, owner: nn.Module) -> None:
    sigmoid = False if isinstance(owner, BBoxHead) else getattr(owner, 'use_sigmoid_cls', None)
    trained = getattr(loss, 'use_sigmoid', None)
    if loss is getattr(owner, 'loss_cls', None) and None not in (sigmoid, trained) and sigmoid != trained:
        names = {True: 'sigmoid', False: 'softmax'}
        print_log(
            f'{where}: trains by {names[bool(trained)]}, but the head predicts by {names[bool(sigmoid)]}. '
            f'Write use_sigmoid={sigmoid} in the config of the loss, or use_sigmoid={trained} where the head reads it.',
            'current',
            logging.WARNING,
        )
