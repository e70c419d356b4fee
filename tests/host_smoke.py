"""Does the package work on the host packages installed here? Run by `make smoke`, on the onedl stack by `make test`.

Reads and builds every config (on the meta device, so no weights are made), then trains the relation detector for one
step on random pictures and predicts with it. Exit code 0 where all of it works.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import MODELS
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper

from mmdet_ext.graphs import CategoryGraph
from mmdet_ext.utils import register_all_modules
from mmdet_ext.utils.host_versions import MODULES, find_hosts

CONFIGS = Path(__file__).parents[1] / 'configs'
RELATION = CONFIGS / 'relation_rcnn' / 'relation-faster-rcnn_r18-gn_fpn_chest-phantom.py'
SHAPE = [3, 96, 96]


def runnable() -> Iterator[Path]:
    """Every config that is not part of `_base_`."""
    return (path for path in sorted(CONFIGS.glob('*/*.py')) if path.parent.name != '_base_')


def build_all() -> int:
    """Build the model of every config; returns how many there are."""
    paths = list(runnable())
    with tempfile.TemporaryDirectory() as folder:
        for name in ('chest_phantom', 'chestx_det'):
            classes = Config.fromfile(CONFIGS / '_base_' / 'datasets' / f'{name}.py').metainfo.classes
            os.environ[f'MMDET_EXT_{name.upper()}'] = str(Path(folder, name))
            CategoryGraph.identity(classes).save(Path(folder, name, 'train.catgraph.json'))
        os.environ['MMDET_EXT_COCO'] = str(Path(folder, 'coco'))
        CategoryGraph.identity(CocoDataset.METAINFO['classes']).save(Path(folder, 'coco', 'train2017.catgraph.json'))
        for path in paths:
            with torch.device('meta'):
                MODELS.build(Config.fromfile(path).model)
            print(f'built {path.relative_to(CONFIGS)}', flush=True)
    return len(paths)


def train_and_predict() -> tuple[dict[str, float], int]:
    """One step of the relation detector: its losses, and the number of predicted pictures afterwards."""
    cfg = Config.fromfile(RELATION)
    model = MODELS.build(cfg.model)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = [parameter.detach().clone() for parameter in model.roi_head.parameters()]
    pictures = demo_mm_inputs(2, [SHAPE, SHAPE], num_classes=model.roi_head.bbox_head.num_classes)
    losses = {key: float(value) for key, value in model.train_step(pictures, optimizer).items()}
    after = model.roi_head.parameters()
    if all(torch.equal(old, new) for old, new in zip(before, after, strict=True)):
        raise RuntimeError('the step changed no weight of the relation head')
    with torch.no_grad():
        return losses, len(model.eval().test_step(pictures))


def main() -> int:
    """Run everything and say what was run."""
    torch.manual_seed(0)
    register_all_modules()
    MMLogger.get_instance('smoke', log_level='WARNING')
    print(', '.join(f'{host.name} {number}' for module in MODULES for host, number in find_hosts(module)))
    count = build_all()
    losses, predicted = train_and_predict()
    if predicted != 2 or not all(torch.isfinite(torch.tensor(value)) for value in losses.values()):
        print(f'wrong after one step: losses {losses}, {predicted} pictures predicted', file=sys.stderr)
        return 1
    print(f'{count} configs built; one step: {", ".join(f"{key} {value:.3f}" for key, value in losses.items())}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
