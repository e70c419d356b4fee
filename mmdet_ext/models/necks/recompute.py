"""Less memory for more time: activations computed again in the backward pass."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


@contextlib.contextmanager
def unchanged_statistics(module: nn.Module) -> Iterator[None]:
    """Batch norms in training write their running statistics into copies, which are then dropped."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    kept = [(part, name, buffer) for part in norms for name, buffer in part.named_buffers(recurse=False)]
    for part, name, buffer in kept:
        setattr(part, name, buffer.clone())
    try:
        yield
    finally:
        for part, name, buffer in kept:
            setattr(part, name, buffer)


def recomputed(module: nn.Module, x: Tensor) -> Tensor:
    """`module(x)`, of which only `x` and the result are kept for the backward pass.

    Deviations from `with_cp` in mmdet: parameters get their gradients, and memory is saved, where `x` needs no gradient
    too (a frozen backbone); running statistics of batch norms are updated once, not twice.
    """
    if not torch.is_grad_enabled():
        return module(x)
    if torch.compiler.is_compiling():
        # The compiler decides itself what to compute again, and that is never an update of statistics.
        return checkpoint(module, x, use_reentrant=False)

    def contexts() -> tuple[contextlib.AbstractContextManager, contextlib.AbstractContextManager]:
        return contextlib.nullcontext(), unchanged_statistics(module)

    return checkpoint(module, x, use_reentrant=False, context_fn=contexts)
