"""Mean, spread, size, zeros and non-finite values of what modules put out in a training step, and of its gradients."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .module_outputs import float_tensors, unwrapped


@dataclass(frozen=True)
class Moments:
    """Statistics of the values of one or several tensors; mean, spread and size are of the finite ones.

    Attributes:
        count: How many values.
        nonfinite: How many of them are NaN or infinite.
        zeros: How many are zero.
        abs_max: Largest absolute value; 0 where none is finite.
        mean: NaN where none is finite.
        std: Standard deviation (divided by n, not n - 1); NaN where none is finite.
    """

    count: int
    nonfinite: int
    zeros: int
    abs_max: float
    mean: float
    std: float

    @property
    def rms(self) -> float:
        """Root of the mean square, the typical size of a value."""
        return math.hypot(self.mean, self.std)

    @property
    def zero_share(self) -> float:
        """Share of zeros; 0 of no values."""
        return self.zeros / max(self.count, 1)

    @property
    def nonfinite_share(self) -> float:
        """Share of NaN and infinite values; 0 of no values."""
        return self.nonfinite / max(self.count, 1)


@dataclass(frozen=True)
class ModuleStats:
    """One module in one training step.

    Attributes:
        name: Of the module.
        kind: Its class.
        calls: How often it ran; a head shared by five levels runs five times, and all calls count together.
        output: Of its outputs.
        growth: `rms` of its outputs over that of the module that ran before it; None without one, or where a size is
            zero or not known.
        gradient: Of the gradients of the loss with respect to its outputs; None where there is none.
    """

    name: str
    kind: str
    calls: int
    output: Moments
    growth: float | None
    gradient: Moments | None


@torch.no_grad()
def measure(values: Tensor) -> Tensor:
    """What `Moments` are made of, for one tensor; no host sync.

    Half precision is measured in float32. Values are divided by the largest one before they are squared, so that no
    finite value overflows.

    Args:
        values: Floating point numbers of any shape, at least one.

    Returns:
        (5,) number of non-finite values, number of zeros, largest absolute value, mean and standard deviation; the last
        three are of the finite values, and 0 of none.
    """
    values = values.detach()
    values = values if values.dtype == torch.float64 else values.float()
    finite = values.isfinite()
    nonfinite = (~finite).sum()
    kept = torch.where(finite, values, 0)
    abs_max = kept.abs().max()
    kept = kept / abs_max.clamp(min=torch.finfo(kept.dtype).tiny)
    number = (values.numel() - nonfinite).clamp(min=1)
    mean = kept.sum() / number
    std = (torch.where(finite, kept - mean, 0).square().sum() / number).sqrt()
    zeros = (values == 0).sum()
    return torch.stack([nonfinite.to(mean), zeros.to(mean), abs_max, mean * abs_max, std * abs_max])


def merge(parts: Iterable[tuple[int, Sequence[float]]], scale: float = 1.0) -> Moments:
    """Moments of several tensors together, by the formula of Chan, Golub and LeVeque (1979) for pairs of samples.

    Args:
        parts: Number of values of each tensor, and what `measure` gives of them.
        scale: All values were multiplied by this.
    """
    count = nonfinite = zeros = finite = 0
    abs_max = mean = square = 0.0
    for size, (bad, nulls, largest, part_mean, part_std) in parts:
        number = size - round(bad)
        count, nonfinite, zeros, finite = count + size, nonfinite + round(bad), zeros + round(nulls), finite + number
        abs_max = max(abs_max, largest)
        if number:
            step = part_mean - mean
            mean += step * number / finite
            square += part_std * part_std * number + step * step * number * (finite - number) / finite
    if not finite:
        return Moments(count, nonfinite, zeros, 0.0, math.nan, math.nan)
    return Moments(count, nonfinite, zeros, abs_max / scale, mean / scale, math.sqrt(square / finite) / scale)


class ActivationRecorder:
    """Measures the outputs of modules in one training step; nothing is left in the model after `close`.

    A module that runs again while the backward pass recomputes a checkpointed part is not counted again, since only
    calls inside of the model's own `forward` count. Nothing waits for the device before `read`.

    Args:
        model: A detector, wrapped or not.
        modules: The modules to measure by name, see `choose_modules`.
        gradients: Measure the gradients with respect to the outputs, too.
    """

    def __init__(self, model: nn.Module, modules: Mapping[str, nn.Module], gradients: bool = False) -> None:
        self._gradients = gradients
        self._kinds = {name: type(module).__name__ for name, module in modules.items()}
        self._calls: dict[str, int] = {}
        self._outputs: list[tuple[str, int, Tensor]] = []
        self._grads: list[tuple[str, int, Tensor]] = []
        self._inside = False
        core = unwrapped(model)
        self._handles: list[Any] = [
            core.register_forward_pre_hook(partial(self._set_inside, True)),
            core.register_forward_hook(partial(self._set_inside, False)),
            *(module.register_forward_hook(partial(self._note, name)) for name, module in modules.items()),
        ]

    def close(self) -> None:
        """Take everything away that looks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def read(self, grad_scale: float = 1.0) -> list[ModuleStats]:
        """What was measured, in the order in which the modules finished their first call.

        Args:
            grad_scale: Gradients were multiplied by this (loss scaling of mixed precision); it is taken out again.
        """
        outputs, grads = _by_name(self._outputs), _by_name(self._grads)
        found: list[ModuleStats] = []
        before = 0.0
        for name, calls in self._calls.items():
            output = merge(outputs.get(name, ()))
            growth = output.rms / before if before > 0 and output.rms >= 0 else None
            gradient = merge(grads[name], grad_scale) if name in grads else None
            found.append(ModuleStats(name, self._kinds[name], calls, output, growth, gradient))
            before = output.rms
        return found

    def _set_inside(self, value: bool, *_: Any) -> None:
        self._inside = value

    def _note(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        tensors = [tensor for tensor in float_tensors(output) if tensor.numel()]
        if self._inside:
            self._calls[name] = self._calls.get(name, 0) + 1
            self._outputs += [(name, tensor.numel(), measure(tensor)) for tensor in tensors]
        if self._gradients:
            for tensor in tensors:
                if tensor.requires_grad:
                    tensor.register_hook(partial(self._note_grad, name))

    def _note_grad(self, name: str, grad: Tensor) -> None:
        self._grads.append((name, grad.numel(), measure(grad)))


def _by_name(noted: Sequence[tuple[str, int, Tensor]]) -> dict[str, list[tuple[int, list[float]]]]:
    """The measurements of each module, fetched from the device at once."""
    found: dict[str, list[tuple[int, list[float]]]] = {}
    if noted:
        # Outputs may be of several precisions and, in a model that is spread, devices.
        values = torch.stack([row.to(noted[0][2].device, torch.float64) for _, _, row in noted]).tolist()
        for (name, size, _), row in zip(noted, values, strict=True):
            found.setdefault(name, []).append((size, row))
    return found


def first_nonfinite(stats: Iterable[ModuleStats]) -> ModuleStats | None:
    """The first module whose output is not finite."""
    return next((row for row in stats if row.output.nonfinite), None)


def summarize(stats: Sequence[ModuleStats]) -> str:
    """The extremes in one sentence."""
    known = [row for row in stats if row.output.rms >= 0]
    if not known:
        return f'{len(stats)} modules ran, and none has a finite output'
    largest = max(known, key=lambda row: row.output.abs_max)
    dead = max(known, key=lambda row: row.output.zero_share)
    parts = [f'{len(stats)} modules', f'largest output {largest.output.abs_max:.4g} in {largest.name}']
    growing = max((row for row in known if row.growth is not None), key=lambda row: row.growth or 0, default=None)
    if growing is not None:
        parts.append(f'fastest growth x{growing.growth:.3g} at {growing.name}')
    parts.append(f'most zeros {100 * dead.output.zero_share:.0f} % in {dead.name}')
    graded = [row for row in stats if row.gradient is not None]
    if graded:
        steepest = max(graded, key=lambda row: row.gradient.abs_max if row.gradient else 0)
        parts.append(f'largest gradient {steepest.gradient.abs_max if steepest.gradient else 0:.4g} in {steepest.name}')
    bad = first_nonfinite(stats)
    if bad is not None:
        share = 100 * bad.output.nonfinite_share
        parts.append(f'first output that is not finite: {bad.name} ({bad.kind}), {share:.3g} % of its values')
    return '; '.join(parts)
