"""The first question to a detector: can it learn a few images by heart? If not, something is broken."""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmdet_ext.engine.launch import load_config, train
from mmdet_ext.engine.loss_alarms import TOTAL, find_dominant, find_not_finite, loss_terms

from .demo.runs import describe_progress, quiet_console
from .logs.loss_curves_plot import plot_loss_curves
from .logs.training_log import TrainingLog, read_training_log
from .overfit_config import METRIC, make_overfit_config
from .tables import write_csv

_print = partial(print, flush=True)
# A loss that keeps more than this share of its first value has not been learnt.
_LEARNT = 0.5


def run_overfit(
    config: str | Path,
    *,
    num: int = 8,
    iters: int = 300,
    target: float = 0.9,
    work_dir: str | Path | None = None,
    dataset: str | Path | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = _print,
) -> dict[str, Any]:
    """Train on the first images of the training set without augmentation and evaluate on the same images.

    `work_dir` gets the config (`overfit.py`), log, curves (`overfit.png`, `.csv`) and the last checkpoint.

    Args:
        config: Any detector's, see `make_overfit_config` for what becomes of it.
        num: Number of images, the first that have objects.
        iters: Number of iterations; it ends before if the target is reached.
        target: AP (COCO's, IoU 0.5 to 0.95) that has to be reached.
        work_dir: Default `work_dirs/overfit/<config stem>`.
        dataset: See `load_config`.
        cfg_options: Merged before the config is rewritten: model, optimizer and batch size can be set, schedule and
            hooks cannot.
        say: Prints a line for the user.

    Returns:
        `ap` (the best), `ap_50` (of the same validation), `iterations` (trained), `reached`, `sentence`, `work_dir`.

    Raises:
        FileNotFoundError: The config is not there.
        ValueError: A bad number, or a config without training images that have objects.
        RuntimeError: The training failed; the message names its log.
    """
    if num < 1 or iters < 1:
        raise ValueError(f'num and iters must be at least 1, got {num} and {iters}')
    if not 0 < target <= 1:
        raise ValueError(f'target must be an AP above 0 and up to 1, got {target}')
    folder = Path(work_dir) if work_dir is not None else Path('work_dirs', 'overfit', Path(config).stem)
    cfg = load_config(config, work_dir=folder, dataset=dataset, cfg_options=cfg_options)
    cfg, notes = make_overfit_config(cfg, num, iters, target)
    for note in notes:
        say(note)
    # mmengine keeps visualizers and message hubs by name: two runs in a process would write into one log.
    cfg.experiment_name = f'overfit_{folder.name}_{time.time_ns()}'
    cfg.visualizer = {**(cfg.get('visualizer') or {'type': 'DetLocalVisualizer'}), 'name': cfg.experiment_name}
    cfg.visualizer['vis_backends'] = [dict(type='LocalVisBackend')]
    cfg.resume = False
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'overfit.py'
    file.write_text(cfg.pretty_text, encoding='utf-8')
    say(f'training on {num} images, at most {iters} iterations (log: {folder / "train.log"})')

    def on_line(line: str) -> None:
        if progress := describe_progress(line):
            say(progress)

    with quiet_console(folder / 'train.log', on_line):
        scale = 'base_batch_size' in (cfg.get('auto_scale_lr') or {})
        runner = train(file, work_dir=folder, auto_scale_lr=scale)
    log = read_training_log(Path(runner.log_dir), folder.name)
    result = {**judge_overfit(log, target), 'work_dir': str(folder)}
    _write_curves(log, folder)
    say(result['sentence'])
    say(f'Curves: {folder}/overfit.png, .csv')
    return result


def judge_overfit(log: TrainingLog, target: float) -> dict[str, Any]:
    """Whether the target was reached, and if not, why not.

    Args:
        log: Of the training, with its validations.
        target: AP to reach.

    Returns:
        See `run_overfit`.
    """
    validations = [row for row in log.rows if METRIC in row]
    # Without a single detection mmdet reports no figures at all; the log leaves a NaN out, too.
    best = max(validations, key=lambda row: _number(row[METRIC]), default={'iter': log.last_iteration})
    ap, ap_50 = (_number(best.get(name, 0.0)) for name in (METRIC, f'{METRIC}_50'))
    result = {'ap': ap, 'ap_50': ap_50, 'iterations': log.last_iteration, 'reached': ap >= target}
    if result['reached']:
        sentence = f'AP {ap:.3f} after {int(best["iter"])} iterations: the detector learns these images by heart.'
    else:
        sentence = f'AP {ap:.3f} (at IoU 0.5: {ap_50:.3f}) is below {target:g}: {_cause(log, ap_50)}'
    return {**result, 'sentence': sentence}


def _number(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _cause(log: TrainingLog, ap_50: float) -> str:
    """The likeliest cause, from what the losses did and what was found."""
    names = [TOTAL, *loss_terms(name for name in log.names if '/' not in name)]
    points = {name: log.points(name)[1] for name in names}
    length = max(1, len(points[TOTAL]) // 10)
    first = {name: float(values[:length].mean()) for name, values in points.items() if len(values)}
    last = {name: float(values[-length:].mean()) for name, values in points.items() if len(values)}
    if alarms := find_not_finite(last, 'the last iterations'):
        return alarms[0].message
    fall = f'the loss went from {first[TOTAL]:.3g} to {last[TOTAL]:.3g}'
    if last[TOTAL] > _LEARNT * first[TOTAL]:
        text = (
            f"{fall}, so hardly anything was learnt: too low or too high a learning rate (the config's is for its own "
            'batch size), frozen or uninitialised parts, targets that the loss does not see, or too few iterations.'
        )
        dominant = find_dominant(last, 'the last iterations')
        return f'{text} {dominant[0].message}' if dominant else text
    if ap_50 < 0.1:
        return (
            f'{fall}, but next to nothing of it is detected: training and inference disagree (decoding, order of the '
            'classes, activation of the scores, normalisation of the image), or score_thr or NMS of test_cfg drop it.'
        )
    if ap_50 >= 0.9:
        return (
            f'{fall}; the objects are found, but their boxes are not exact: more iterations, or a look at box loss, '
            'box coder (its means and stds) and the resolution of the features.'
        )
    return (
        f'{fall}, but part of the objects is missed: more iterations, or objects without a positive prior (anchors and '
        'assigner against the sizes of the boxes), classes that share a label, or annotations that contradict each '
        'other.'
    )


def _write_curves(log: TrainingLog, folder: Path) -> None:
    names = [METRIC, f'{METRIC}_50', TOTAL, *loss_terms(name for name in log.names if '/' not in name), 'lr']
    names = [name for name in names if name in log.names]
    plot_loss_curves([log], names, [max(1, log.last_iteration // 10)], folder / 'overfit.png')
    write_csv(
        folder / 'overfit.csv', ['iter', *names], [[row.get(name) for name in ('iter', *names)] for row in log.rows]
    )
