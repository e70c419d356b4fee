"""Pictures of partners during validation."""

from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.runner import Runner

from mmdet_ext.engine.hooks import RelationVisualizationHook
from mmdet_ext.engine.hooks import relation_visualization_hook as module
from mmdet_ext.engine.launch import load_config
from tests.test_analysis.test_relation_probe import probe_case


class Visualizer:
    """Keeps the pictures."""

    def __init__(self):
        self.dataset_meta = probe_case.detector().whole.metainfo
        self.added = []

    def add_image(self, name, image, step):
        self.added.append((name, image, step))


def make_runner(model, step=7):
    return SimpleNamespace(model=model, visualizer=Visualizer(), iter=step)


def validate(hook, runner, detector):
    hook.before_val_epoch(runner)
    for index, data in enumerate(detector.loader):
        hook.before_val_iter(runner, index, data)
        outputs = detector.model.test_step(data)
        hook.after_val_iter(runner, index, data, outputs)
    hook.after_val_epoch(runner)


def hooked(model):
    return [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks or 'predict_by_feat' in vars(m)]


@pytest.mark.parametrize('cascade', [False, True])
@torch.no_grad()
def test_the_first_images_are_drawn_and_nothing_stays(cascade):
    detector = probe_case.detector(cascade)
    hook = HOOKS.build(dict(type='RelationVisualizationHook', num_images=2, score_thr=0.0, max_detections=1))
    runner = make_runner(detector.model)
    hook.before_run(runner)
    validate(hook, runner, detector)
    assert [name for name, _, _ in runner.visualizer.added] == ['relations_000001', 'relations_000002']
    for _, image, step in runner.visualizer.added:
        assert step == 7
        assert image.dtype == 'uint8'
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.std() > 10
    assert not hooked(detector.model)


@torch.no_grad()
def test_interval():
    detector = probe_case.detector()
    hook = RelationVisualizationHook(interval=2, num_images=1, score_thr=0.0)
    runner = make_runner(detector.model)
    hook.before_run(runner)
    drawn = []
    for _ in range(4):
        validate(hook, runner, detector)
        drawn.append(len(runner.visualizer.added))
    assert drawn == [1, 1, 2, 2]


@torch.no_grad()
def test_images_without_anything_are_left_out():
    detector = probe_case.detector()
    hook = RelationVisualizationHook(score_thr=1.1)
    runner = make_runner(detector.model)
    hook.before_run(runner)
    validate(hook, runner, detector)
    assert runner.visualizer.added == []
    hook.before_val_epoch(runner)
    # No image of the batch had a RoI.
    hook.before_val_iter(runner, 0)
    hook.after_val_iter(runner, 0, None, [])
    assert hooked(detector.model)
    hook.after_val_epoch(runner)
    assert not hooked(detector.model)


def test_only_the_main_process_draws(monkeypatch):
    monkeypatch.setattr(module, 'is_main_process', lambda: False)
    detector = probe_case.detector()
    hook = RelationVisualizationHook()
    hook.before_run(make_runner(detector.model))
    hook.before_val_epoch(make_runner(detector.model))
    assert not hooked(detector.model)


def test_bad_input():
    with pytest.raises(ValueError, match='interval must be a whole number from 1 on, got 0'):
        RelationVisualizationHook(interval=0)
    with pytest.raises(ValueError, match='Linear has no relations to look at'):
        RelationVisualizationHook().before_run(make_runner(torch.nn.Linear(1, 1)))


def test_in_a_runner(tmp_path):
    files = probe_case.files()
    cfg = load_config(files.config, work_dir=tmp_path)
    # `pretty_text`, which the Runner logs, takes seconds.
    cfg.__class__.pretty_text, text = property(lambda self: ''), cfg.__class__.pretty_text
    try:
        cfg.merge_from_dict(
            {
                'custom_hooks': [dict(type='RelationVisualizationHook', num_images=1, score_thr=0.0)],
                'load_from': str(files.checkpoint),
                'experiment_name': 'relation_visualization',
                'visualizer.name': 'relation_visualization',
            }
        )
        Runner.from_cfg(cfg).val()
    finally:
        cfg.__class__.pretty_text = text
    (picture,) = tmp_path.rglob('relations_*.png')
    assert picture.name == 'relations_000001_0.png'
