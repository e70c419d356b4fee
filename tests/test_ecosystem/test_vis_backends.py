"""TensorBoard and W&B by one `--cfg-options`, as the command line reads it."""

import argparse
import json
from pathlib import Path

import pytest

from mmdet_ext.engine.config_arguments import add_cfg_options
from mmdet_ext.engine.launch import train

from .conftest import Trained, own_names

pytestmark = pytest.mark.xdist_group('ecosystem')


def train_with(one: Trained, folder: Path, option: str) -> tuple[Path, list[float]]:
    """Train with an option of the command line; the folder of the backends and the losses logged."""
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = parser.parse_args(['--cfg-options', option]).cfg_options
    train(one.config, work_dir=folder, cfg_options=options | own_names(folder.name))
    (place,) = folder.glob('*/vis_data')
    rows = map(json.loads, place.joinpath('scalars.json').read_text().splitlines())
    return place, [row['loss'] for row in rows if 'loss' in row]


def test_tensorboard(trained: dict[str, Trained], tmp_path: Path) -> None:
    pytest.importorskip('tensorboard', reason='requirements/optional.txt')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    option = "visualizer.vis_backends=[{'type':'LocalVisBackend'},{'type':'TensorboardVisBackend'}]"
    place, losses = train_with(trained['single_shot'], tmp_path / 'tensorboard', option)
    assert len(list(place.glob('events.out.tfevents.*'))) == 1
    events = EventAccumulator(str(place)).Reload()
    assert [event.value for event in events.Scalars('loss')] == pytest.approx(losses, rel=1e-5)
    assert {'lr', 'loss_cls', 'loss_bbox'} <= set(events.Tags()['scalars'])


def test_wandb_offline(trained: dict[str, Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip('wandb', reason='requirements/optional.txt')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    # W&B collects the Python files of the working directory as the code of the run.
    monkeypatch.chdir(tmp_path)
    option = "visualizer.vis_backends=[{'type':'LocalVisBackend'},{'type':'WandbVisBackend'}]"
    place, losses = train_with(trained['single_shot'], tmp_path / 'wandb', option)
    assert wandb.run is None or not wandb.finish()
    (run,) = (place / 'wandb').glob('offline-run-*/run-*.wandb')
    stored = run.read_bytes()
    # A log of protobuf records whose values are json.
    assert len(losses) == 2
    assert all(name in stored for name in (b'loss_bbox', *(str(loss).encode() for loss in losses)))
