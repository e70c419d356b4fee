"""Proposals of a two-stage detector in its data samples."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.models.test_time_augs import DetTTAModel
from mmdet.registry import HOOKS, MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch import nn

from mmdet_ext.engine.hooks import ProposalRecordHook
from mmdet_ext.evaluation import CocoIoUMetric, RPNRecallMetric
from tests.test_models.small_detector import CONFIGS, small_config
from tests.tiny_coco import make_tiny_coco, tiny_config

CONFIG = CONFIGS / 'scratch_gn/faster-rcnn_r18-gn_fpn_rpn-recall_bccd.py'


class OtherMetric(CocoIoUMetric):
    """Of the wrong kind."""

    def __init__(self):
        self._dataset_meta = None


def make_runner(model, *metrics):
    loop = SimpleNamespace(evaluator=Evaluator(list(metrics)))
    loop.evaluator.dataset_meta = {'classes': ('a',)}
    return SimpleNamespace(model=model, val_loop=loop, test_loop=loop)


@pytest.fixture(scope='module')
def detector():
    init_default_scope('mmdet')
    return MODELS.build(small_config(CONFIG).model).eval()


def batch(detector, count=2):
    """Images of 64 x 48 that were 128 x 144 in their files."""
    samples = [
        DetDataSample(metainfo=dict(img_shape=(48, 64), ori_shape=(144, 128), scale_factor=(0.5, 1 / 3), img_id=k))
        for k in range(count)
    ]
    return detector.data_preprocessor({'inputs': [torch.rand(3, 48, 64) * 255] * count, 'data_samples': samples})


@torch.no_grad()
def test_samples_get_the_proposals_in_pixels_of_the_file(detector):
    data = batch(detector)
    plain = detector.predict(data['inputs'], copy.deepcopy(data['data_samples']))
    expected = detector.rpn_head.predict(detector.extract_feat(data['inputs']), data['data_samples'])
    hook, runner = HOOKS.build(dict(type='ProposalRecordHook')), make_runner(detector)
    hook.before_val_epoch(runner)
    assert 'predict' in vars(detector.rpn_head)
    found = detector.predict(data['inputs'], copy.deepcopy(data['data_samples']))
    hook.after_val_epoch(runner)
    assert 'predict' not in vars(detector.rpn_head)
    for sample, own, other in zip(found, expected, plain, strict=True):
        scale = torch.tensor([2.0, 3, 2, 3])
        torch.testing.assert_close(sample.rpn_proposals.bboxes, own.bboxes * scale)
        torch.testing.assert_close(sample.rpn_proposals.scores, own.scores)
        assert len(own.bboxes) > 5
        torch.testing.assert_close(sample.pred_instances.bboxes, other.pred_instances.bboxes)
        assert 'rpn_proposals' not in other
        # Detectors would take these instead of asking their RPN.
        assert 'proposals' not in sample


def fake_model(boxes):
    """A model whose RPN always proposes the same; its `predict` is not the class's own."""
    model, head = nn.Module(), nn.Module()
    head.predict = lambda x, samples, rescale=False: [
        InstanceData(bboxes=boxes, scores=boxes.new_ones(len(boxes))) for _ in samples
    ]
    model.rpn_head = head
    return model


@pytest.mark.parametrize('kind', [torch.float16, torch.bfloat16])
def test_half_precision(kind):
    """In pixels of the file the box is too large for float16."""
    model = fake_model(torch.tensor([[0.0, 0, 40960, 4]], dtype=kind))
    hook, runner = ProposalRecordHook(), make_runner(model)
    hook.before_test_epoch(runner)
    (sample,) = samples = [DetDataSample(metainfo=dict(scale_factor=(0.5, 0.5)))]
    model.rpn_head.predict(None, samples)
    hook.after_test_epoch(runner)
    assert sample.rpn_proposals.bboxes.dtype == sample.rpn_proposals.scores.dtype == torch.float32
    assert sample.rpn_proposals.bboxes.tolist() == [[0, 0, 81920, 8]]


def test_rescaled_boxes_stay_and_a_method_of_the_head_comes_back():
    boxes = torch.tensor([[0.0, 0, 4, 4]])
    model = fake_model(boxes)
    head, predict = model.rpn_head, model.rpn_head.predict
    hook, runner = ProposalRecordHook(measure=False), make_runner(model)
    hook.before_val_epoch(runner)
    samples = [DetDataSample(metainfo=dict(scale_factor=(0.5, 0.5)))]
    head.predict(None, samples, rescale=True)
    assert samples[0].rpn_proposals.bboxes.tolist() == boxes.tolist()
    head.predict(None, samples)
    assert samples[0].rpn_proposals.bboxes.tolist() == (2 * boxes).tolist()
    # Begun again without an end (an evaluation that failed): nothing is noted twice.
    hook.before_val_epoch(runner)
    hook.after_run(runner)
    assert head.predict is predict
    assert runner.val_loop.evaluator.metrics == []


def test_a_compiled_model_runs_uncompiled_meanwhile():
    model = fake_model(torch.zeros(0, 4))

    def compiled(*args, **kwargs):
        """What `torch.compile` puts in the place of a method."""

    compiled._torchdynamo_orig_callable = model.forward
    model.forward = compiled
    hook, runner = ProposalRecordHook(), make_runner(model)
    hook.before_val_epoch(runner)
    assert 'forward' not in vars(model)
    hook.after_val_epoch(runner)
    assert model.forward is compiled


def test_the_metric_is_added_once(detector):
    hook, runner = ProposalRecordHook(), make_runner(detector, OtherMetric())
    for _ in range(2):
        hook.before_val_epoch(runner)
        hook.after_val_epoch(runner)
    other, added = runner.val_loop.evaluator.metrics
    assert type(added) is RPNRecallMetric
    assert added.dataset_meta == other.dataset_meta == {'classes': ('a',)}
    assert added.proposals == 'rpn_proposals'
    own = RPNRecallMetric(counts=[7])
    runner = make_runner(detector, own)
    hook.before_val_epoch(runner)
    hook.after_val_epoch(runner)
    assert runner.val_loop.evaluator.metrics == [own]


def test_an_rpn_alone_needs_the_metric_only():
    init_default_scope('mmdet')
    cfg = small_config(CONFIG).model
    rpn = MODELS.build(dict(
        type='RPN', data_preprocessor=cfg.data_preprocessor, backbone=cfg.backbone, neck=cfg.neck,
        rpn_head=cfg.rpn_head, train_cfg=dict(rpn=cfg.train_cfg.rpn), test_cfg=dict(rpn=cfg.test_cfg.rpn)))  # fmt: skip
    hook, runner = ProposalRecordHook(), make_runner(rpn)
    hook.before_val_epoch(runner)
    assert [metric.proposals for metric in runner.val_loop.evaluator.metrics] == ['pred_instances']
    assert 'predict' not in vars(rpn.bbox_head)
    hook.after_val_epoch(runner)


def test_what_has_no_rpn_is_refused(detector):
    with pytest.raises(ValueError, match=r'Linear has no RPN \(model.rpn_head\)'):
        ProposalRecordHook().before_val_epoch(make_runner(nn.Linear(1, 1)))
    with pytest.raises(ValueError, match='with test-time augmentation each version of an image'):
        ProposalRecordHook().before_test_epoch(make_runner(DetTTAModel(module=detector)))


def test_one_line_in_a_config(tmp_path):
    """Validation while training and a test, by the Runner itself."""
    classes = ('RBC', 'WBC', 'Platelets')
    paths = make_tiny_coco(tmp_path / 'data', n=4, classes=classes)
    tiny = tmp_path / 'tiny.py'
    tiny.write_text(tiny_config(paths, classes, epochs=1))
    cfg = Config.fromfile(tiny)
    cfg.model = small_config(CONFIG).model
    cfg.default_hooks.proposals = Config.fromfile(CONFIG).default_hooks.proposals
    cfg.work_dir = str(tmp_path / 'run')
    init_default_scope('mmdet')
    runner = Runner.from_cfg(cfg)
    runner.train()
    logged = {key for key in runner.message_hub.log_scalars if key.startswith('val/rpn/')}
    assert {'val/rpn/AR@1000', 'val/rpn/mAP', 'val/rpn/recall_50@100'} <= logged
    found = runner.test()
    assert 0 < found['rpn/proposals'] <= cfg.model.test_cfg.rpn.max_per_img
    assert found['rpn/recall_50@10'] <= found['rpn/recall_50@1000'] <= 1
    assert 'predict' not in vars(runner.model.rpn_head)
    assert np.isfinite([value for key, value in found.items() if key.startswith('rpn/')]).all()
