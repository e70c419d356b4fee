"""Logs how hard each loss term pulls at the shared feature maps while a detector trains."""

import math
from contextlib import ExitStack
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..gradient_balance import balance, scalar_terms, short_name, watched_trunk
from ..module_outputs import uncompiled, unwrapped


@HOOKS.register_module()
class GradientBalanceHook(Hook):
    """Norm of the gradient of each loss term at the trunk, each `interval` iterations.

    The trunk is what `extract_feat` gives: the feature maps that all heads of a detector share. A term with a hundredth
    of the norm of another one hardly forms them, however large its value is; `loss_weight` moves it. Logged are, for a
    term `loss_rpn_cls`, `trunk_grad/rpn_cls` (the norm) and `trunk_cos/rpn_cls` (cosine with the gradient of the sum of
    all terms; below zero the term is worked against). Both are means over the ranks, of the losses as they are: without
    the loss scale of mixed precision and without the factor of gradient accumulation. What is not finite is left out,
    such as the overflow of the first steps with a loss scale.

    The first iteration is measured, then every `interval`-th after it; a measured one takes a backward pass through
    the heads for each term, and memory for two more gradients of the maps. All ranks measure, since heads may
    synchronise in their backward pass. Training is not changed, but that a model under `torch.compile` runs its
    measured steps uncompiled. Between them nothing hangs on the model.

    Args:
        interval: Every how many iterations.

    Raises:
        ValueError: `interval` below 1, or (before training) a model without `extract_feat` or in a wrapper that
            scatters its weights (FSDP, DeepSpeed).
    """

    def __init__(self, interval: int = 200) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f'GradientBalanceHook: interval must be a whole number from 1 on, got {interval!r}')
        self.interval = interval
        self._measuring = ExitStack()

    def before_train(self, runner: Runner) -> None:
        """Refuse a model that cannot be measured."""
        model = runner.model
        if is_model_wrapper(model) and not isinstance(model, DistributedDataParallel):
            raise ValueError(
                f'GradientBalanceHook: {type(model).__name__} scatters the weights, so that heads cannot be run '
                'backwards several times; use it with DDP or on one device'
            )
        if not hasattr(unwrapped(model), 'extract_feat'):
            raise ValueError(
                f'GradientBalanceHook: {type(unwrapped(model)).__name__} has no `extract_feat`, and so no feature maps '
                'that its heads share; leave the hook out'
            )

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begin to watch, if this iteration is one to measure."""
        # An iteration that failed, and was caught by somebody, may have left something.
        self._measuring.close()
        if runner.iter % self.interval:
            return
        model: Any = unwrapped(runner.model)
        self._measuring.enter_context(uncompiled(runner.model))
        trunk = self._measuring.enter_context(watched_trunk(model))
        parse, before = model.parse_losses, vars(model).get('parse_losses')

        def parse_losses(losses: dict[str, Any]) -> Any:
            self._measure(runner, losses, trunk)
            trunk.clear()
            return parse(losses)

        vars(model)['parse_losses'] = parse_losses
        self._measuring.callback(_put_back, model, before)

    def _measure(self, runner: Runner, losses: dict[str, Any], trunk: list[Tensor]) -> None:
        # The step itself may change the scale.
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        own = balance(scalar_terms(losses), trunk, 1.0 if scaler is None else float(scaler.get_scale()))
        every = all_gather_object(own)
        for term in dict.fromkeys(name for rank in every for name in rank):
            for place, what in enumerate(('trunk_grad', 'trunk_cos')):
                values = [rank[term][place] for rank in every if term in rank and math.isfinite(rank[term][place])]
                if values:
                    runner.message_hub.update_scalar(f'train/{what}/{short_name(term)}', sum(values) / len(values))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Take everything away."""
        self._measuring.close()

    def after_train(self, runner: Runner) -> None:
        """Take everything away, also after an iteration that failed."""
        self._measuring.close()


def _put_back(model: nn.Module, before: Any) -> None:
    vars(model).pop('parse_losses', None)
    if before is not None:
        vars(model)['parse_losses'] = before
