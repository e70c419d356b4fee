"""Looks at the loss of a training step between forward and backward, while no weight has changed."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmengine.dist import all_reduce, get_rank, get_world_size
from torch import nn

from .loss_alarms import TOTAL, loss_terms
from .module_outputs import is_compiled, unwrapped
from .step_record import StepRecord

OnBad = Callable[[StepRecord | None, Mapping[str, Any], list[int]], None]


class LossGuard:
    """Calls somebody, in time, when the total loss of a step is not finite.

    mmengine's hooks come before a step or after its update. `train_step` of models and of wrappers (DDP, FSDP,
    DeepSpeed) hands its losses to the model's `parse_losses` before the backward pass, and that is where this looks: an
    error raised there ends the step with the weights as they were. A method of that name is laid over the model's own
    from `arm` until its first call.

    `train_step` under `torch.compile` is left alone (a new method would have it compiled anew in every step), and a
    model may have a `train_step` that parses nothing: `looked` then stays False.

    Args:
        model: A detector, wrapped or not.
        on_bad: Called on every rank when the loss of any is not finite: with the record of the step (None if the
            model's `forward` was not called), the parsed losses of this rank, and the ranks concerned.
    """

    def __init__(self, model: nn.Module, on_bad: OnBad) -> None:
        self.model, self.on_bad = model, on_bad
        self.looked = False
        self._record: StepRecord | None = None
        self._undo: list[Callable[[], Any]] = []

    def arm(self) -> None:
        """Watch the step that begins now. Takes copies of the buffers when its forward pass begins."""
        self.disarm()
        self.looked, self._record = False, None
        core = unwrapped(self.model)
        if is_compiled(self.model) or not hasattr(core, 'parse_losses'):
            return
        handle = core.register_forward_pre_hook(self._begin, with_kwargs=True)
        own = vars(core).get('parse_losses')
        parse: Any = core.parse_losses

        def parse_losses(*args: Any, **kwargs: Any) -> Any:
            total, log_vars = parse(*args, **kwargs)
            record = self._record
            self.disarm()
            self.looked = True
            ranks = bad_ranks(total)
            if ranks:
                self.on_bad(record, log_vars, ranks)
            return total, log_vars

        object.__setattr__(core, 'parse_losses', parse_losses)

        def restore() -> None:
            vars(core).pop('parse_losses', None)
            if own is not None:
                object.__setattr__(core, 'parse_losses', own)

        self._undo = [handle.remove, restore]

    def disarm(self) -> None:
        """Leave the model as it was."""
        for undo in self._undo:
            undo()
        self._undo, self._record = [], None

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._record is None:
            self._record = StepRecord.take(self.model, args, kwargs)


def bad_ranks(total: Any) -> list[int]:
    """Ranks whose total loss is not finite: one host sync, and with several ranks one reduction of as many numbers.

    Every rank has to call it, and all get the same answer.
    """
    value = torch.as_tensor(total).detach()
    bad = (~value.isfinite()).any()
    if get_world_size() == 1:
        return [0] if bad.item() else []
    flags = torch.zeros(get_world_size(), device=value.device)
    flags[get_rank()] = bad
    all_reduce(flags)
    return flags.nonzero().flatten().tolist()


def loss_values(log_vars: Mapping[str, Any]) -> dict[str, float]:
    """Total and terms as numbers."""
    names = [name for name in [TOTAL, *loss_terms(log_vars)] if name in log_vars]
    return {name: float(torch.as_tensor(log_vars[name]).detach()) for name in names}


def tell_losses(values: Mapping[str, float]) -> str:
    """What is not finite first, then the others: `loss_bbox is nan (loss_cls 0.53)`."""
    terms = {name: value for name, value in values.items() if name != TOTAL} or dict(values)
    bad = [f'{name} is {value}' for name, value in terms.items() if not math.isfinite(value)]
    good = [f'{name} {value:.4g}' for name, value in terms.items() if math.isfinite(value)]
    told = ', '.join(bad) if bad else f'{TOTAL} is {values.get(TOTAL)} though each of its terms is finite'
    return f'{told} ({", ".join(good)})' if good else told
