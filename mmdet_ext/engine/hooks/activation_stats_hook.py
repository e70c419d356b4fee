"""Writes down how large the outputs of a model's layers are while it trains."""

import csv
import logging
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from ..activation_stats import ActivationRecorder, ModuleStats, Moments, first_nonfinite, summarize
from ..module_outputs import choose_modules, uncompiled

FIELDS = ('mean', 'std', 'abs_max', 'zero_share', 'nonfinite_share')
HEAD = ('iteration', 'order', 'module', 'kind', 'calls', 'values', *FIELDS, 'growth')
GRADIENT_HEAD = tuple(f'grad_{field}' for field in FIELDS)


@HOOKS.register_module()
class ActivationStatsHook(Hook):
    """Mean, standard deviation, size, zeros and non-finite values of every layer's output, each `interval` iterations.

    The way to look for a layer that explodes, dies or makes the first NaN: in a healthy model without normalisation
    sizes stay within some hundreds and do not grow from layer to layer. A module that runs several times in a step (a
    head shared by levels) is one row. `growth` compares the root mean square with that of the row before, in the order
    in which modules finish: across branches (levels, cls and reg) that is no chain.

    Rows are appended to `activation_stats.csv` in the run's log folder, and the log gets a sentence with the extremes.
    The first iteration is measured, then every `interval`-th after it, in the main process and there only: a batch of
    its own, before the update. Between them nothing is registered in the model and nothing waits for the device. A
    measured step waits once and keeps a few float32 copies of one output at a time. Training is not changed, but that a
    model under `torch.compile` runs its measured steps uncompiled. Under FSDP outputs are those of the rank's own
    images, as everywhere.

    Args:
        interval: Every how many iterations.
        modules: Patterns of module names, see `choose_modules`; default: all modules without children.
        gradients: Also the gradients of the loss with respect to the outputs, without the loss scale of mixed precision
            but with the factor of gradient accumulation.

    Raises:
        ValueError: `interval` below 1, `modules` is a single string or empty, or (before training) a pattern fits no
            module.
    """

    def __init__(self, interval: int = 500, modules: Sequence[str] | None = None, gradients: bool = False) -> None:
        if not isinstance(interval, int) or interval < 1:
            raise ValueError(f'ActivationStatsHook: interval must be a whole number from 1 on, got {interval!r}')
        if modules is not None and (isinstance(modules, str) or not modules):
            raise ValueError(f"ActivationStatsHook: modules must be a list such as ['backbone.*'], got {modules!r}")
        self.interval, self.patterns, self.gradients = interval, modules, gradients
        self._modules: dict[str, nn.Module] = {}
        self._recorder: ActivationRecorder | None = None
        self._grad_scale = 1.0
        self._looking = ExitStack()

    def before_train(self, runner: Runner) -> None:
        """Find the modules, so that a wrong pattern is refused at once."""
        self._modules = choose_modules(runner.model, self.patterns)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Begin to look, if this iteration is one to measure."""
        # An iteration that failed, and was caught by somebody, may have left something.
        self.after_train(runner)
        if runner.iter % self.interval or not is_main_process():
            return
        # The step itself may change the scale.
        scaler = getattr(runner.optim_wrapper, 'loss_scaler', None)
        self._grad_scale = 1.0 if scaler is None else float(scaler.get_scale())
        self._looking.enter_context(uncompiled(runner.model))
        self._recorder = ActivationRecorder(runner.model, self._modules, self.gradients)
        self._looking.callback(self._recorder.close)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Write what was measured."""
        if self._recorder is None:
            return
        self._looking.close()
        recorder, self._recorder = self._recorder, None
        stats = recorder.read(self._grad_scale)
        file = Path(runner.log_dir, 'activation_stats.csv')
        head = (*HEAD, *GRADIENT_HEAD) if self.gradients else HEAD
        append_csv(file, head, stats_rows(runner.iter + 1, stats, self.gradients))
        level = logging.WARNING if first_nonfinite(stats) else logging.INFO
        runner.logger.log(level, f'ActivationStatsHook: iteration {runner.iter + 1}: {summarize(stats)} ({file.name})')

    def after_train(self, runner: Runner) -> None:
        """Take everything away, also after an iteration that failed."""
        self._looking.close()
        self._recorder = None


def stats_rows(iteration: int, stats: Iterable[ModuleStats], gradients: bool) -> list[list[Any]]:
    """Cells of the table, one row for each module."""
    rows = []
    for order, row in enumerate(stats):
        cells = [iteration, order, row.name, row.kind, row.calls, row.output.count]
        cells += [*_cells(row.output), _number(row.growth)]
        rows.append(cells + (_cells(row.gradient) if gradients else []))
    return rows


def append_csv(file: Path, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Append rows to a table that is begun with its head."""
    begins = not file.exists()
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open('a', encoding='utf-8', newline='') as stream:
        writer = csv.writer(stream)
        if begins:
            writer.writerow(head)
        writer.writerows(rows)


def _cells(moments: Moments | None) -> list[str]:
    return [_number(None if moments is None else getattr(moments, field)) for field in FIELDS]


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:.6g}'
