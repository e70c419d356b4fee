"""Stops a training before a NaN gets into its weights, and says where it is from; bands and plateaus of losses."""

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmdet.engine.hooks import CheckInvalidLossHook
from mmdet.registry import HOOKS
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from ..loss_alarms import check_options
from ..loss_bands import (
    HEAD,
    Limits,
    band_rows,
    check_limits,
    find_outside,
    find_plateaus,
    measure_band,
    train_losses,
)
from ..loss_guard import LossGuard, bad_ranks, loss_values, tell_losses
from ..module_outputs import data_samples, unwrapped
from ..nonfinite_search import describe, image_names
from ..step_record import StepRecord
from .activation_stats_hook import append_csv
from .loss_alarm_hook import MIN_ITERATIONS

ACTIONS = ('stop', 'skip', 'warn')


@HOOKS.register_module()
class LossMonitorHook(CheckInvalidLossHook):
    """mmdet's check for an invalid loss, made to say which images, terms and module it comes from.

    *Not finite.* mmdet's hook looks every 50 iterations after the update, when the weights are NaN already, and says
    no more than that. This one looks between forward and backward (`LossGuard`): the batch changes no weight. It runs
    the batch again with the same random numbers and looks at every module (`search_nonfinite`). The sentence names the
    images, every term with its value, the first module with a value that is not finite and, where the batch axis tells,
    the image it is of. Batch, state, random numbers and weights go to `work_dir/loss_monitor/iter_<n>_rank_<r>.pth`,
    for `mmdet_ext.engine.step_record.replay_step`. All ranks act alike, also where only one has such a loss.

    What it cannot do: values are traced through modules, not through the functions between them. Where kernels are not
    deterministic the second run may differ, and it says so when nothing is found. Buffers that the forward pass updates
    (BatchNorm's statistics) have seen the batch: `'skip'` and the file bring back those of before. Under
    `torch.compile`, or with a `train_step` that never calls `parse_losses`, there is no moment before the update: then
    the check comes after it, names images and terms, and says so. A gradient that is not finite under a finite loss is
    seen one step later, as weights that are not finite. FSDP and DeepSpeed: the file has no weights.

    Cost of a checked iteration: one host sync (mmengine's own log has one for each loss anyway), a copy of the buffers,
    with several ranks a reduction of one number for each.

    *Bands.* At the end of a stretch `loss_bands.csv` in the run's log folder gets quantiles of every loss (HEAD in
    `mmdet_ext.engine.loss_bands`), and the log median and [5 %, 95 %]; with `expected` it warns of a loss whose median
    leaves its band. *Plateaus*: a warning when the total or a term begins not to change, by the rule
    of `LossAlarmHook`. Both are of the main process, and of mmengine's own history, also that of a resumed checkpoint.

    Args:
        interval: Check for a finite loss every so many iterations.
        action: `'stop'` raises; `'skip'` leaves the update of this batch out and goes on; `'warn'` only says it.
        dump: Write the batch to a file.
        max_reports: Search and dump so often; later ones get a short sentence.
        max_skips: With `'skip'`: stop after so many skipped checks in a row.
        stretch: Iterations of a stretch. Default: an epoch, at least 50 iterations.
        epochs: Plateau: over how many stretches a loss has to change; None looks for none.
        min_change: Plateau: a smaller share of the value is no change.
        expected: Lowest and highest expected median of a loss, as in `dict(loss=(0, 30))`.

    Raises:
        ValueError: An option out of its range, or (before training) `'skip'` with gradient accumulation or several
            optimizers, where a left-out batch would leave gradients behind.
        FloatingPointError: The loss of a step is not finite.
    """

    def __init__(
        self,
        interval: int = 1,
        action: str = 'stop',
        dump: bool = True,
        max_reports: int = 3,
        max_skips: int = 10,
        stretch: int | None = None,
        epochs: int | None = 10,
        min_change: float = 0.01,
        expected: Limits | None = None,
    ) -> None:
        counts = {'interval': interval, 'max_reports': max_reports, 'max_skips': max_skips}
        for name, value in (counts | ({} if stretch is None else {'stretch': stretch})).items():
            if not isinstance(value, int) or value < 1:
                raise ValueError(f'LossMonitorHook: {name} must be a whole number from 1 on, got {value!r}')
        if action not in ACTIONS:
            raise ValueError(f'LossMonitorHook: action must be one of {", ".join(ACTIONS)}, got {action!r}')
        check_options('LossMonitorHook', 4 if epochs is None else epochs, min_change, 1)
        check_limits('LossMonitorHook', expected or {})
        super().__init__(interval)
        self.action, self.dump, self.max_reports, self.max_skips = action, dump, max_reports, max_skips
        self.stretch, self.epochs, self.min_change, self.expected = stretch, epochs, min_change, expected or {}
        self._reports = self._skips = 0
        self._skipping = self._left_out = False
        self._said: set[tuple[str, str]] = set()
        self._guard: LossGuard | None = None

    def before_train(self, runner: Runner) -> None:
        """Refuse what cannot be skipped, and get ready to look."""
        wrapper = runner.optim_wrapper
        accumulates = isinstance(wrapper, OptimWrapperDict) or getattr(wrapper, '_accumulative_counts', 1) > 1
        if self.action == 'skip' and accumulates:
            raise ValueError(
                "LossMonitorHook: action='skip' needs one optimizer without gradient accumulation "
                "(accumulative_counts=1); use 'stop' or 'warn'."
            )
        self._guard = LossGuard(runner.model, lambda *found: self._on_bad(runner, *found))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Watch this step, if it is one to check."""
        self._stop_skipping(runner)
        if self._guard is not None and self.every_n_train_iters(runner, self.interval):
            self._guard.arm()

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check now where it was not possible before the update; bands and plateaus at the end of a stretch."""
        skipped = self._stop_skipping(runner)
        if self._guard is not None and self.every_n_train_iters(runner, self.interval):
            self._guard.disarm()
            if not skipped:
                self._skips = 0
            if not self._guard.looked and outputs and 'loss' in outputs:
                ranks = bad_ranks(outputs['loss'])
                if ranks:
                    self._report_late(runner, outputs, ranks, data_batch)
        if is_main_process():
            self._look_back(runner)

    def after_train(self, runner: Runner) -> None:
        """Leave nothing behind."""
        self._stop_skipping(runner)
        if self._guard is not None:
            self._guard.disarm()

    def _on_bad(self, runner: Runner, record: StepRecord | None, log_vars: Mapping[str, Any], ranks: list[int]) -> None:
        """Find out on every rank, tell on all of them, and act."""
        self._reports += 1
        full = record is not None and self._reports <= self.max_reports
        # Every rank runs its batch again: the model may reduce over ranks.
        search = record.search(runner.model) if record is not None and full else None
        text = ''
        if get_rank() in ranks:
            values = loss_values(log_vars)
            images = image_names(record.samples) if record is not None else []
            text = self._head(runner, values, images)
            if search is not None:
                text += ' ' + describe(search, images)
            if self.dump and full and record is not None:
                text += f' The batch is in {self._save(runner, record, values)}.'
        if self.action == 'skip':
            self._skips += 1
        stop = self.action == 'stop' or (self.action == 'skip' and self._skips >= self.max_skips)
        end = {'stop': '', 'skip': ' Its update is left out.', 'warn': ' The update follows.'}[self.action]
        if stop:
            end = ' No weight has been changed by it.'
            end += f' {self._skips} updates in a row were left out: the batch is not to blame.' if self._skips else ''
        self._act(runner, text + (end if text else ''), stop)
        if self.action == 'skip':
            self._skipping, self._left_out = True, False
            # Over the wrapper's own, until the step is over.
            runner.optim_wrapper.update_params = partial(self._leave_out, runner, record)

    def _leave_out(self, runner: Runner, record: StepRecord | None, *args: Any, **kwargs: Any) -> None:
        """Instead of the update: the buffers forget the batch, too."""
        self._left_out = True
        if record is not None:
            record.state.restore(runner.model, generators=False)

    def _report_late(self, runner: Runner, outputs: Mapping[str, Any], ranks: list[int], batch: Any) -> None:
        text = ''
        if get_rank() in ranks:
            text = self._head(runner, loss_values(outputs), image_names(data_samples(batch)))
            text += (
                " The update is done already: this model's train_step is compiled, or calls no parse_losses, so that "
                'the batch could not be checked before; start again from the last checkpoint.'
            )
        self._act(runner, text, self.action != 'warn')

    def _head(self, runner: Runner, values: Mapping[str, float], images: list[str]) -> str:
        rank = f', rank {get_rank()}' if get_world_size() > 1 else ''
        names = f' Images: {", ".join(images)}.' if images else ''
        return f'Iteration {runner.iter + 1} (epoch {runner.epoch + 1}{rank}): {tell_losses(values)}.{names}'

    def _act(self, runner: Runner, text: str, stop: bool) -> None:
        message = ' '.join(filter(None, all_gather_object(text)))
        if stop:
            raise FloatingPointError(f'LossMonitorHook: {message}')
        if is_main_process():
            runner.logger.log(logging.WARNING, f'LossMonitorHook: {message}')

    def _save(self, runner: Runner, record: StepRecord, values: Mapping[str, float]) -> Path:
        facts = {
            'iteration': runner.iter + 1,
            'epoch': runner.epoch + 1,
            'rank': get_rank(),
            'world_size': get_world_size(),
            'losses': dict(values),
        }
        whole = not is_model_wrapper(runner.model) or isinstance(runner.model, DistributedDataParallel)
        weights = unwrapped(runner.model).state_dict() if whole else None
        file = Path(runner.work_dir, 'loss_monitor', f'iter_{runner.iter + 1}_rank_{get_rank()}.pth')
        return record.save(file, facts, weights)

    def _stop_skipping(self, runner: Runner) -> bool:
        skipped, self._skipping = self._skipping, False
        if skipped:
            vars(runner.optim_wrapper).pop('update_params', None)
            if not self._left_out:
                raise FloatingPointError(
                    f"LossMonitorHook: action='skip' needs a train_step that updates by optim_wrapper.update_params; "
                    f"that of {type(unwrapped(runner.model)).__name__} does not. Use action='stop'."
                )
        return skipped

    def _look_back(self, runner: Runner) -> None:
        epoch, done = len(runner.train_dataloader), runner.iter + 1
        length = self.stretch or max(epoch, MIN_ITERATIONS)
        if done % length:
            return
        when = f'iterations {done - length + 1} to {done}'
        losses = train_losses(runner.message_hub.log_scalars, length * (self.epochs or 1))
        bands = [measure_band(name, values[-length:]) for name, values in losses.items()]
        append_csv(Path(runner.log_dir, 'loss_bands.csv'), HEAD, band_rows(bands, done - length + 1, done))
        if bands:
            told = '; '.join(map(str, bands))
            runner.logger.log(logging.INFO, f'LossMonitorHook: median and [5 %, 95 %] in {when}: {told}')
        sentences = {('band', name): text for name, text in find_outside(bands, self.expected, when).items()}
        if self.epochs is not None:
            unit = 'epochs' if length == epoch else f'stretches of {length} iterations'
            over = f'the last {self.epochs} {unit}, up to {when}'
            plateaus = find_plateaus(losses, length, self.epochs, over, self.min_change)
            sentences |= {('plateau', alarm.name): alarm.message for alarm in plateaus}
        for key, text in sentences.items():
            if key not in self._said:
                runner.logger.log(logging.WARNING, f'LossMonitorHook: {text}')
        # What has ended, and begins again, is said again.
        self._said = set(sentences)
