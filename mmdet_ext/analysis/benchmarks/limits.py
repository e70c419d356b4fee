"""How fast a row could be at best: what it has to read, write and compute, over what this machine can do."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

_COPY = 64 << 20
_SIDE = 2048
_TURNS = 5


class Work(NamedTuple):
    """The least that a call has to do, whoever writes it.

    Attributes:
        bytes: inputs read once, results and gradients written once.
        flops: floating-point operations of its matrix products and convolutions, two for a multiplication with
            addition; the rest of the arithmetic is not counted.
    """

    bytes: float = 0.0
    flops: float = 0.0


class Rates(NamedTuple):
    """What the machine does in a second, with the threads that are set.

    Attributes:
        bytes: read and written by a copy that no cache holds.
        flops: of a large product of matrices, as convolutions are one.
    """

    bytes: float
    flops: float


def measure_rates(device: torch.device, dtype: torch.dtype = torch.float32) -> Rates:
    """Best of a few copies of 256 MB and of a few products of 2048 x 2048 matrices, on a GPU of 8192 x 8192.

    Args:
        device: Whose rates.
        dtype: Of the product. On a GPU float32 is multiplied as cuDNN does it in convolutions, in TF32.
    """
    source, target = torch.zeros(_COPY, device=device), torch.zeros(_COPY, device=device)
    side = _SIDE if device.type == 'cpu' else 4 * _SIDE
    left, right = torch.rand(2, side, side, device=device).to(dtype)
    copy = _best_time(lambda: target.copy_(source), device)
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        product = _best_time(lambda: left @ right, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed
    return Rates(2 * source.nbytes / copy, 2 * side**3 / product)


def count_flops(run: Callable[[], Any]) -> float:
    """Operations of matrix products and convolutions of one call, its backward included."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def least_seconds(work: Work, rates: Rates) -> tuple[float, str]:
    """Seconds that the work takes at best, and which of `'bytes'` and `'flops'` it waits for."""
    seconds = {name: getattr(work, name) / getattr(rates, name) for name in Work._fields}
    slowest = max(seconds, key=seconds.__getitem__)
    return seconds[slowest], slowest


def _best_time(run: Callable[[], Any], device: torch.device) -> float:
    times = []
    for _ in range(_TURNS):
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
