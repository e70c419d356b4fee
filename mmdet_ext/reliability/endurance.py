"""Does a long training stay as it is? Memory, open files and threads over thousands of steps of each family."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmdet_ext.analysis.figures import new_figure, plain_axes, save_figure
from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.face_phantom import make_face_phantom
from mmdet_ext.engine.config_file import read_config
from mmdet_ext.engine.hooks.memory_trace_hook import TRACE
from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.utils.environment import set_variables
from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import collect_versions, find_commit

FAMILIES = {
    'relation': 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'all relations, cascade, masks': 'relation_rcnn/all-relations-cascade-mask-rcnn_r18-gn_fpn_chest-phantom.py',
    'single-shot': 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py',
    'YOLO with IoU': 'yolo_iou/yolo-iou_r18-gn_chest-phantom.py',
    'faces': 'retina_face/retina-face_r18-gn_fpn-ssh_face-phantom.py',
    "mmdet's Faster R-CNN": 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py',
}
FLAT = 0.01
"""Growth over 1000 steps, as a share of what a training holds, up to which it counts as flat."""
IMAGES, INTERVAL = 48, 20
GRAPH = 'train.catgraph.json'


def run_endurance(
    out: str | Path,
    *,
    steps: int = 2000,
    workers: int = 2,
    amp: str | None = None,
    families: Sequence[str] = tuple(FAMILIES),
    work_dir: str | Path = 'work_dirs/endurance',
    repository: str | Path = '.',
    seed: int = 0,
    command: str = '',
    say: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Train each family for many steps in a process of its own, and look at what it holds on to.

    Args:
        out: JSON file; families that are not run now keep their row. A picture of the same name is beside it.
        steps: Of each training.
        workers: Of the data loader.
        amp: `'float16'` or `'bfloat16'`: train in mixed precision, which mmengine does on GPUs; a loss that is not
            finite ends the training.
        families: Of `FAMILIES`.
        work_dir: Data and trainings; a finished training of as many steps is not repeated.
        repository: With `configs/` and `tools/train.py`.
        seed: Of data and trainings.
        command: Kept with the figures.
        say: Gets a line for each family.

    Returns:
        The rows, see `judge_trace`.

    Raises:
        ValueError: An unknown family, or fewer than 200 steps.
        RuntimeError: A training failed.
    """
    check_families(families)
    if steps < 10 * INTERVAL:
        raise ValueError(f'a trend needs {10 * INTERVAL} steps or more, got {steps}')
    out, work_dir = Path(out), Path(work_dir).absolute()
    stored = json.loads(out.read_text(encoding='utf-8'))['rows'] if out.is_file() else {}
    draw_phantoms(work_dir, seed)
    for name in families:
        folder = work_dir / Path(FAMILIES[name]).stem / (f'{steps}_{amp}' if amp else f'{steps}')
        if not (folder / f'iter_{steps}.pth').is_file():
            cfg = endurance_config(name, repository, work_dir, steps, workers, seed)
            if amp:
                cfg.optim_wrapper.update(type='AmpOptimWrapper', dtype=amp)
                cfg.custom_hooks.append(dict(type='CheckInvalidLossHook', interval=1))
            train_config(cfg, folder, Path(repository))
        row = {
            **judge_trace(read_trace(folder / TRACE)),
            'steps': steps,
            'amp': amp,
            'workers': workers,
            'seed': seed,
            'config': FAMILIES[name],
            'command': command,
            'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
            'commit': find_commit(repository),
            'versions': collect_versions(),
            'trace': {key: [round(float(x), 1) for x in value] for key, value in read_trace(folder / TRACE).items()},
        }
        stored[name] = row
        write_json(out, {'rows': stored})
        say(f'{name}: {describe(row)}')
    plot_traces(stored, out.with_suffix('.png'))
    return [stored[name] for name in families]


def check_families(families: Sequence[str]) -> None:
    """Raise a `ValueError` unless these are names of `FAMILIES`."""
    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise ValueError(f'no family is called {unknown[0]!r}; there are {", ".join(FAMILIES)}')


def draw_phantoms(folder: Path, seed: int) -> tuple[Path, Path]:
    """The chest phantom with its category graph, and the face phantom, small; found where they are drawn already."""
    chest, face = folder / 'chest_phantom', folder / 'face_phantom'
    make_chest_phantom(chest, train=IMAGES, val=4, size=160, seed=seed)
    CategoryGraph.from_coco(chest / 'annotations' / 'train.json').save(chest / GRAPH)
    make_face_phantom(face, train=IMAGES, val=4, size=256, seed=seed)
    return chest, face


def endurance_config(name: str, repository: str | Path, data: Path, steps: int, workers: int, seed: int) -> Config:
    """The config of a family with so many steps of two images, without validation, traced.

    Args:
        name: Of `FAMILIES`.
        repository: With `configs/`.
        data: Folder with both phantoms.
        steps: Of the training.
        workers: Of the data loader.
        seed: Of the training.
    """
    with set_variables({f'MMDET_EXT_{key.upper()}': str(data / key) for key in ('chest_phantom', 'face_phantom')}):
        cfg = read_config(Path(repository, 'configs', FAMILIES[name]))
    for key in ('cfg', 'dataloader', 'evaluator'):
        cfg[f'val_{key}'] = None
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=steps, val_interval=steps + 1)
    cfg.param_scheduler = [dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=50)]
    # What a step leaves behind does not depend on how many images it has.
    cfg.train_dataloader.update(batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=steps, max_keep_ckpts=1)
    cfg.log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
    cfg.randomness = dict(seed=seed)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='MemoryTraceHook', interval=INTERVAL)]
    return cfg


def train_config(cfg: Config, folder: Path, repository: Path) -> None:
    """Train in a process of its own; a `RuntimeError` names the log of one that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TRACE).unlink(missing_ok=True)
    config, log = folder.with_suffix('.py'), folder.with_suffix('.log')
    cfg.dump(str(config))
    words = [sys.executable, str(repository / 'tools' / 'train.py'), str(config), '--work-dir', str(folder)]
    with open(log, 'w', encoding='utf-8') as console:
        code = subprocess.run(words, stdout=console, stderr=subprocess.STDOUT).returncode
    if code:
        raise RuntimeError(f'{config} ended with exit code {code}: see {log}')


def read_trace(file: str | Path) -> dict[str, np.ndarray]:
    """The columns of a `memory.csv`.

    Raises:
        ValueError: It has no rows.
    """
    with open(file, newline='', encoding='utf-8') as lines:
        rows = list(csv.DictReader(lines))
    if not rows:
        raise ValueError(f'{file} has no rows: the training was shorter than the interval of MemoryTraceHook')
    return {key: np.array([float(row[key]) for row in rows]) for key in rows[0]}


def judge_trace(trace: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Level and growth over the second half, when caches are full and every kernel is chosen.

    Args:
        trace: See `read_trace`.

    Returns:
        For `resident_mb`, `open_files` and `threads` the median `level` and the slope of a least-squares line,
        `per_1000_steps`; and `flat`, whether memory grows by less than `FLAT` of its level over 1000 steps and nothing
        is opened or started any more.
    """
    late = trace['iteration'] > trace['iteration'][-1] / 2
    found: dict[str, Any] = {}
    for key in ('resident_mb', 'open_files', 'threads'):
        values = trace[key][late]
        slope = np.polyfit(trace['iteration'][late], values, 1)[0] if len(values) > 1 else 0.0
        found[key] = {'level': float(np.median(values)), 'per_1000_steps': float(1000 * slope)}
    memory = found['resident_mb']
    found['flat'] = bool(memory['per_1000_steps'] <= FLAT * memory['level']) and all(
        found[key]['per_1000_steps'] < 0.5 for key in ('open_files', 'threads')
    )
    return found


def describe(row: Mapping[str, Any]) -> str:
    """A line for the console."""
    memory, files, threads = (row[key] for key in ('resident_mb', 'open_files', 'threads'))
    return (
        f'{memory["level"]:.0f} MB, {memory["per_1000_steps"]:+.1f} MB over 1000 steps, {files["level"]:.0f} open '
        f'files, {threads["level"]:.0f} threads: {"flat" if row["flat"] else "it grows"}'
    )


def plot_traces(rows: Mapping[str, Mapping[str, Any]], out: str | Path) -> Path:
    """Resident memory of every family over its steps.

    Args:
        rows: By family, with their `trace`.
        out: Picture file.
    """
    figure = new_figure(8, 4)
    axes = figure.subplots()
    plain_axes(axes, 'Resident memory of a training')
    for name, row in rows.items():
        axes.plot(row['trace']['iteration'], row['trace']['resident_mb'], label=name, linewidth=1.4)
    axes.set_xlabel('step')
    axes.set_ylabel('MB')
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8)
    return save_figure(figure, out)


def format_endurance(content: Mapping[str, Any]) -> str:
    """Markdown table of a file that `run_endurance` wrote."""
    lines = [
        '| family | steps | resident memory | growth over 1000 steps | open files | threads | |',
        '|---|--:|--:|--:|--:|--:|---|',
    ]
    for name, row in content['rows'].items():
        memory, files, threads = (row[key] for key in ('resident_mb', 'open_files', 'threads'))
        lines.append(
            f'| {name} | {row["steps"]} | {memory["level"]:.0f} MB | {memory["per_1000_steps"]:+.1f} MB '
            f'| {files["level"]:.0f} | {threads["level"]:.0f} | {"flat" if row["flat"] else "grows"} |'
        )
    return '\n'.join(lines) + '\n'
