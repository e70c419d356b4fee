"""Ten iterations of one-stage detectors from a fixed seed give the losses that are stored beside this file.

Whoever changes a head, a loss or the assigner on purpose writes them anew: `python tests/test_golden_trace.py`.
"""

import json
import tempfile
from pathlib import Path
from unittest import mock

import pytest
import torch

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.engine.launch import train

ROOT = Path(__file__).parents[1]
CONFIGS = ('yolo_iou/yolo-iou_r18-gn_chest-phantom.py', 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py')
STORED = Path(__file__).with_name('golden_trace.json')
ITERATIONS = 10


def trace(config: str, folder: Path) -> list[dict[str, float]]:
    """Every loss term of every iteration, on one thread."""
    make_chest_phantom(folder / 'phantom', train=2 * ITERATIONS, val=2, progress=False, preview=False)
    options = {
        'train_dataloader.batch_size': 2,
        'train_cfg': dict(type='EpochBasedTrainLoop', max_epochs=1, val_interval=2),
        'default_hooks.logger.interval': 1,
        'default_hooks.checkpoint.interval': -1,
        'log_processor.window_size': 1,
        'randomness.seed': 0,
        # mmengine keeps what has the same name for the whole process, the folder it writes into with it.
        'experiment_name': str(folder),
        'visualizer.name': str(folder),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.dict('os.environ', MMDET_EXT_CHEST_PHANTOM=str(folder / 'phantom')):
            train(ROOT / 'configs' / config, work_dir=folder / 'run', cfg_options=options)
    finally:
        torch.set_num_threads(threads)
    lines = next((folder / 'run').glob('*/vis_data/scalars.json')).read_text().splitlines()
    steps = (json.loads(line) for line in lines)
    return [{key: value for key, value in step.items() if 'loss' in key} for step in steps if 'loss' in step]


@pytest.mark.parametrize('config', CONFIGS, ids=lambda config: Path(config).stem)
def test_losses_are_the_stored_ones(config, tmp_path):
    stored = json.loads(STORED.read_text())[config]
    found = trace(config, tmp_path)
    assert len(found) == len(stored) == ITERATIONS
    for iteration, (now, then) in enumerate(zip(found, stored, strict=True), 1):
        # Other processors round otherwise, and every step adds to that.
        assert now == pytest.approx(then, rel=1e-4 * 2**iteration), f'iteration {iteration}'


if __name__ == '__main__':
    found = {}
    for name in CONFIGS:
        with tempfile.TemporaryDirectory() as place:
            found[name] = trace(name, Path(place))
    STORED.write_text(json.dumps(found, indent=1) + '\n')
