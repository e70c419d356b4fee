"""The demo: draw the chest phantom, train a plain and a relation detector on it, compare them on one page."""

import json
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from tabulate import SEPARATING_LINE, tabulate

from mmdet_ext.datasets.chest_phantom import CLASSES, make_chest_phantom
from mmdet_ext.engine.cfg_options import check_cfg_options
from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.utils.environment import set_variables
from mmdet_ext.utils.provenance import collect_versions

from ..graph_plot import plot_category_graph
from .report import CONTEXT_CLASSES, write_demo_report
from .runs import Say, evaluate_detector, find_config, read_config, train_detector

CONFIGS = {
    'baseline': 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'relation': 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py',
}
SEED = 0
TRAIN, VAL, SIZE = 600, 200, 160
_LOG_INTERVAL = 25
DATA_VARIABLE = 'MMDET_EXT_CHEST_PHANTOM'
_print = partial(print, flush=True)


def run_demo(
    work_dir: str | Path = 'work_dirs/demo',
    data: str | Path = 'data/chest_phantom',
    *,
    train: int = TRAIN,
    val: int = VAL,
    epochs: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    fresh: bool = False,
    say: Say = _print,
) -> dict[str, Any]:
    """Run everything and write it below `work_dir`.

    `baseline/` and `relation/` hold config, checkpoint, log and predictions of the detectors; beside them
    `results.json`, `category_graph.png`, `pictures/` and `report.html`. A finished training with the same config and
    data is not repeated, an interrupted one goes on.

    Args:
        work_dir: Folder for the results.
        data: Folder of the phantom; drawn if it is not there.
        train: Number of training images.
        val: Number of validation images.
        epochs: Length of both trainings; default that of the configs.
        cfg_options: Dotted config key to value, for both detectors.
        fresh: Train again even where that was done.
        say: Prints a line for the user.

    Returns:
        The content of `results.json`.

    Raises:
        ValueError: A bad number, or a folder that holds something else.
        RuntimeError: A training or test failed; the message names its log.
    """
    if train < 1 or val < 1:
        raise ValueError(f'train and val must be at least 1, got {train} and {val}')
    if epochs is not None and epochs < 1:
        raise ValueError(f'epochs must be at least 1, got {epochs}')
    work_dir, data = Path(work_dir).resolve(), Path(data).resolve()
    whole = epochs is None and (train, val) == (TRAIN, VAL)
    hint = ' (a few minutes on two cores)' if whole else ''

    say(f'1/5 drawing the chest phantom: {train} + {val} images in {_short(data)}')
    phantom = _make_phantom(data, train, val, say)
    graph = CategoryGraph.from_coco([data / 'annotations' / 'train.json'])
    graph.save(work_dir / 'category_graph.catgraph.json')
    plot_category_graph(graph, work_dir / 'category_graph.png')

    options = _options(epochs) | dict(cfg_options or {})
    results: dict[str, Any] = {}
    with set_variables({DATA_VARIABLE: str(data)}):
        for warning in check_cfg_options(read_config(find_config(CONFIGS['relation']), {}), cfg_options or {}):
            say(f'  {warning}')
        for step, (key, name) in enumerate(CONFIGS.items(), start=2):
            kind = 'plain' if key == 'baseline' else key
            say(f'{step}/5 training the {kind} detector{hint}')
            state = train_detector(
                find_config(name), work_dir / key, options, data, phantom['hash'], fresh=fresh, say=say
            )
            results[key] = {'seconds': round(state.seconds, 1), 'checkpoint': f'{key}/{state.checkpoint}'}
        say('4/5 testing both')
        for key, name in CONFIGS.items():
            config = find_config(name)
            metrics = evaluate_detector(config, work_dir / key, Path(results[key]['checkpoint']).name, options)
            results[key] = summarize_metrics(metrics) | results[key] | {
                'config': f'{key}/{config.name}',
                'log': f'{key}/train.log',
                'parameters': count_parameters(read_config(config, options)),
                'command': _train_command(config, work_dir / key, data, options),
            }  # fmt: skip
        cfg = read_config(find_config(CONFIGS['relation']), options)
    results |= {
        'phantom': phantom['hash'],
        'phantom_seed': phantom['seed'],
        'images': phantom['counts'],
        'epochs': cfg.train_cfg.max_epochs,
        'seed': SEED,
        'command': _demo_command(work_dir, data, train, val, epochs, cfg_options),
        'versions': collect_versions(),
    }
    (work_dir / 'results.json').write_text(json.dumps(results, indent=2) + '\n', encoding='utf-8')

    say('5/5 drawing pictures and writing the report')
    report = write_demo_report(work_dir, data, results, cfg, shortened=not whole)
    say(f'\n{format_table(results)}\n')
    say(f'Look at {_short(report)} first: one page with tables and pictures, opens in any browser.')
    say(f'Numbers: {_short(work_dir / "results.json")}; pictures: {_short(work_dir / "pictures")}; trained detectors: '
        f'{_short(work_dir / "baseline")} and {_short(work_dir / "relation")}.')  # fmt: skip
    return results


def summarize_metrics(metrics: Mapping[str, float]) -> dict[str, Any]:
    """The numbers of `results.json` from those of the evaluator.

    Args:
        metrics: `coco/bbox_mAP`, `coco/bbox_mAP_50` and `coco/<class>_precision`.

    Returns:
        `bbox_mAP`, `bbox_mAP_50`, `context_mAP` (mean of the classes that only context tells apart) and `per_class`;
        None where there is no object to find.
    """
    per_class = {name: _number(metrics.get(f'coco/{name}_precision')) for name in CLASSES}
    context = [ap for name in CONTEXT_CLASSES if (ap := per_class[name]) is not None]
    return {
        'bbox_mAP': _number(metrics['coco/bbox_mAP']),
        'bbox_mAP_50': _number(metrics['coco/bbox_mAP_50']),
        'context_mAP': round(sum(context) / len(context), 4) if context else None,
        'per_class': per_class,
    }


def format_table(results: Mapping[str, Any]) -> str:
    """The comparison as a table for the console."""
    plain, ours = results['baseline'], results['relation']

    def row(name: str, first: float | None, second: float | None) -> tuple[str, str, str, str]:
        cells = ['–' if value is None else f'{value:.3f}' for value in (first, second)]
        return name, *cells, f'{second - first:+.3f}' if first is not None and second is not None else ''  # type: ignore[return-value]

    rows: list[Any] = [row(name, plain['per_class'][name], ours['per_class'][name]) for name in CONTEXT_CLASSES]
    rows += [row('mean of these six look-alikes', plain['context_mAP'], ours['context_mAP']), SEPARATING_LINE]
    others = [name for name in CLASSES if name not in CONTEXT_CLASSES]
    rows += [row(name, plain['per_class'][name], ours['per_class'][name]) for name in others]
    rows += [SEPARATING_LINE, *(row(key[5:], plain[key], ours[key]) for key in ('bbox_mAP', 'bbox_mAP_50'))]
    rows += [('seconds of training', f'{plain["seconds"]:.0f}', f'{ours["seconds"]:.0f}', '')]
    align = ('left', 'right', 'right', 'right')
    return tabulate(rows, headers=('AP', 'plain', 'relation', 'difference'), colalign=align, disable_numparse=True)


def _make_phantom(data: Path, train: int, val: int, say: Say) -> dict[str, Any]:
    try:
        phantom = make_chest_phantom(data, train=train, val=val, size=SIZE, seed=SEED)
    except ValueError as error:
        raise ValueError(f'{error}. In the demo: --data FOLDER, or delete {data}') from error
    say(f'  {"there already" if phantom["reused"] else "done"}, content hash {phantom["hash"][:16]}')
    return phantom


def _options(epochs: int | None) -> dict[str, Any]:
    options = {
        'randomness.seed': SEED,
        'default_hooks.logger.interval': _LOG_INTERVAL,
        # The one before the last is there for the case that a kill leaves the last half-written.
        'default_hooks.checkpoint.max_keep_ckpts': 2,
    }
    if epochs is not None:
        # The second scheduler is the cosine, which ends with the training.
        options |= dict.fromkeys(('train_cfg.max_epochs', 'train_cfg.val_interval', 'param_scheduler.1.end'), epochs)
    return options


def count_parameters(cfg: Config) -> int:
    """Parameters of the model that a config describes."""
    init_default_scope('mmdet')
    return sum(parameter.numel() for parameter in MODELS.build(cfg.model).parameters())


def _train_command(config: Path, work_dir: Path, data: Path, options: Mapping[str, Any]) -> str:
    """A line for the shell that trains one of the detectors as the demo does."""
    words = ['python', 'tools/train.py', _short(config), '--work-dir', f'{_short(work_dir)}_again', '--cfg-options']
    return f'{DATA_VARIABLE}={shlex.quote(_short(data))} ' + shlex.join(
        words + [f'{k}={v}' for k, v in options.items()]
    )


def _demo_command(
    work_dir: Path, data: Path, train: int, val: int, epochs: int | None, cfg_options: Mapping[str, Any] | None
) -> str:
    words = ['python', 'tools/demo.py', '--work-dir', _short(work_dir), '--data', _short(data)]
    words += ['--train', str(train), '--val', str(val)] + (['--epochs', str(epochs)] if epochs else [])
    words += ['--cfg-options', *(f'{key}={value}' for key, value in cfg_options.items())] if cfg_options else []
    return shlex.join(words)


def _short(path: Path) -> str:
    """Relative to the current folder where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _number(value: float | None) -> float | None:
    """None for the evaluator's -1 and NaN: no object of that kind."""
    return None if value is None or not value >= 0 else round(float(value), 4)
