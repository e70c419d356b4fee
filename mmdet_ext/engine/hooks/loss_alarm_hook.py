"""Warns during training when the losses say that something is wrong."""

import logging
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..loss_alarms import TOTAL, check_options, find_alarms, loss_terms, stretch_means

MIN_ITERATIONS = 50


@HOOKS.register_module()
class LossAlarmHook(Hook):
    """Says in a sentence, once, that nothing changes, that one term is nearly all, or that one is not finite.

    The rules are those of `mmdet_ext.engine.loss_alarms`, on means over stretches of `interval` iterations. The values
    are the ones that mmengine has noted for its own log, of the main process: watching costs nothing between two
    stretches. A resumed training goes on with the history of its checkpoint.

    Args:
        interval: Length of a stretch in iterations. Default: an epoch, at least 50 iterations.
        epochs: Over how many stretches the total loss has to change.
        min_change: A smaller share of the total is no change.
        share: From which share of the total on a term is nearly all of it.

    Raises:
        ValueError: An option out of its range.
    """

    def __init__(
        self, interval: int | None = None, epochs: int = 5, min_change: float = 0.01, share: float = 0.9
    ) -> None:
        if interval is not None and (not isinstance(interval, int) or interval < 1):
            raise ValueError(f'LossAlarmHook: interval must be a whole number from 1 on, or None, got {interval!r}')
        check_options('LossAlarmHook', epochs, min_change, share)
        self.interval = interval
        self.options: dict[str, Any] = {'epochs': epochs, 'min_change': min_change, 'share': share}
        self._said: set[tuple[str, str]] = set()

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Apply the rules at the end of a stretch."""
        epoch = len(runner.train_dataloader)
        length = self.interval or max(epoch, MIN_ITERATIONS)
        done = runner.iter + 1
        if done % length or not is_main_process():
            return
        scalars = runner.message_hub.log_scalars
        losses = {key.removeprefix('train/'): key for key in scalars if key.startswith('train/')}
        recent = length * self.options['epochs']
        means = {
            name: stretch_means(scalars[losses[name]].data[0][-recent:], length)
            for name in [TOTAL, *loss_terms(losses)]
            if name in losses
        }
        unit = 'epochs' if length == epoch else f'stretches of {length} iterations'
        for alarm in find_alarms(means, f'iterations {done - length + 1} to {done}', unit, **self.options):
            if alarm.key not in self._said:
                self._said.add(alarm.key)
                runner.logger.log(logging.WARNING, f'LossAlarmHook: {alarm.message}')
