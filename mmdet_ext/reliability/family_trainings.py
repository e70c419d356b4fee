"""A training of each family of this package on small phantoms, in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.datasets.face_phantom import make_face_phantom
from mmdet_ext.engine.config_file import read_config
from mmdet_ext.engine.hooks.run_record_hook import RECORD
from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.utils.environment import set_variables
from mmdet_ext.utils.json_file import write_json
from mmdet_ext.utils.provenance import utc_now

FAMILIES = {
    'relation': 'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'all relations, cascade, masks': 'relation_rcnn/all-relations-cascade-mask-rcnn_r18-gn_fpn_chest-phantom.py',
    'single-shot': 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py',
    'YOLO with IoU': 'yolo_iou/yolo-iou_r18-gn_chest-phantom.py',
    'faces': 'retina_face/retina-face_r18-gn_fpn-ssh_face-phantom.py',
    "mmdet's Faster R-CNN": 'scratch_gn/faster-rcnn_r18-gn_fpn_chest-phantom.py',
}
IMAGES = 48
GRAPH = 'train.catgraph.json'


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


def family_config(name: str, repository: str | Path, data: Path, steps: int, workers: int, seed: int) -> Config:
    """The config of a family with so many steps of two images, without validation; `RunRecordHook` ends it.

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
    # With a sampler that ends, mmengine starts the loader anew after every round, and sleeps two seconds before.
    cfg.train_dataloader.sampler = dict(type='InfiniteSampler')
    cfg.train_dataloader.update(batch_size=2, num_workers=workers, persistent_workers=workers > 0)
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', by_epoch=False, interval=steps, max_keep_ckpts=1)
    cfg.log_processor = dict(type='LogProcessor', window_size=50, by_epoch=False)
    cfg.randomness = dict(seed=seed)
    add_hook(cfg, 'RunRecordHook')
    return cfg


def add_hook(cfg: Config, kind: str, **options: Any) -> None:
    """Put a hook behind the others."""
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type=kind, **options)]


def train_family(cfg: Config, folder: Path, repository: str | Path) -> dict[str, Any]:
    """What `RunRecordHook` wrote about a training; a finished one is not repeated.

    Args:
        cfg: See `family_config`.
        folder: For the training; name it by everything that `cfg` differs in.
        repository: With `tools/train.py`.

    Raises:
        RuntimeError: The training failed; the message names its log.
    """
    if not (folder / RECORD).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        config, log = folder.with_suffix('.py'), folder.with_suffix('.log')
        cfg.dump(str(config))
        words = [sys.executable, str(Path(repository, 'tools', 'train.py')), str(config), '--work-dir', str(folder)]
        with open(log, 'w', encoding='utf-8') as console:
            code = subprocess.run(words, stdout=console, stderr=subprocess.STDOUT).returncode
        if code:
            raise RuntimeError(f'{config} ended with exit code {code}: see {log}')
    return json.loads((folder / RECORD).read_text(encoding='utf-8'))


def train_table(
    out: str | Path,
    column: str,
    trainings: Mapping[str, Mapping[str, tuple[Config, Path]]],
    repository: str | Path,
    describe: Callable[[Mapping[str, Any]], str],
    say: Callable[[str], None],
    extra: Mapping[str, Any] | None = None,
    **origin: Any,
) -> dict[str, dict[str, Any]]:
    """Trainings of each family, one kind beside the other; a failed one is written down and the next one begins.

    Args:
        out: JSON file, written after each family; families that are not trained now keep their row.
        column: Key of the figures in a row.
        trainings: By family and kind a config and the folder of its training.
        repository: See `train_family`.
        describe: Figures as a cell of a table.
        say: Gets a line for each training.
        extra: What else is in each row.
        origin: See `row_origin`; it is in a row of which a training has succeeded.

    Returns:
        By family, for each kind `seconds` of a step and `peak_mb` of the training process, or `error`.
    """
    stored, rows = read_rows(out), {}
    for name, kinds in trainings.items():
        figures: dict[str, dict[str, Any]] = {}
        row: dict[str, Any] = {column: figures, **(extra or {})}
        for kind, (cfg, folder) in kinds.items():
            try:
                record = train_family(cfg, folder, repository)
            except RuntimeError as error:
                figures[kind] = {'error': str(error)}
            else:
                figures[kind] = {'seconds': record['step_seconds'], 'peak_mb': record['peak_memory_mb']}
                row.update(row_origin(name, record, **origin))
            say(f'{name}, {kind}: {describe(figures[kind])}')
        rows[name] = stored[name] = row
        write_json(out, {'rows': stored})
    return rows


def row_origin(name: str, record: dict[str, Any], workers: int, seed: int, command: str) -> dict[str, Any]:
    """Where the figures of a row come from: commit and versions are those of the training, not of today."""
    return {
        'config': FAMILIES[name],
        'workers': workers,
        'seed': seed,
        'command': command,
        'date': utc_now(),
        'device': record['device'],
        'commit': record['commit'],
        'versions': record['versions'],
    }


def read_rows(out: str | Path) -> dict[str, Any]:
    """Rows by family of a file that an earlier call wrote, none if there is none."""
    return json.loads(Path(out).read_text(encoding='utf-8'))['rows'] if Path(out).is_file() else {}
