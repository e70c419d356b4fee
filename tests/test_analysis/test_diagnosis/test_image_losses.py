"""Losses of single images: those of training, the same with every call, and a model that has not noticed."""

import copy
import random
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmdet_ext.analysis.diagnosis.image_losses import (
    as_in_training,
    image_losses,
    kept_features,
    plain_batches,
    replaced,
)
from tests.test_analysis.test_diagnosis import detector_case as case


def states():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


@pytest.mark.parametrize('family', ['retina', 'mask', 'yolo_iou', 'retina_face', 'fcos', 'detr'])
def test_the_terms_are_those_of_training(family):
    """As `parse_losses` has them for a batch of this image with hand-made ground truth."""
    detector = case.detector(family)
    inputs, samples = case.batch(detector, 1)
    with as_in_training(detector.model), torch.no_grad():
        found = detector.model.loss(inputs, copy.deepcopy(samples))
        total, log = detector.model.parse_losses(found)
    losses, limits = image_losses(detector.model, inputs, samples)
    assert limits == []
    assert losses == pytest.approx(
        {name: float(value) for name, value in log.items() if 'loss' in name and name != 'loss'}
    )
    assert sum(losses.values()) == pytest.approx(float(total), rel=1e-5)
    assert case.record(family, 1).losses == pytest.approx(losses)


@pytest.mark.parametrize('family', ['retina', 'ssd', 'fcos', 'yolo_iou', 'faster', 'mask'])
def test_no_head_knows_that_it_is_not_trained(family):
    """Without batch norm and dropout losses are those of a model in training mode, to the last digit.

    FCOS with `norm_on_bbox` gives losses and detections other maps.
    """
    detector = case.variant(family)
    inputs, samples = case.batch(detector, 0)
    losses, _ = image_losses(detector.model, inputs, samples, seed=3)
    detector.model.train()
    random.seed(3)
    np.random.seed(3)  # noqa: NPY002
    torch.manual_seed(3)
    with torch.no_grad():
        _, log = detector.model.parse_losses(detector.model.loss(inputs, samples))
    assert losses == pytest.approx({name: float(log[name]) for name in losses}, rel=1e-6)


def test_heads_act_as_in_training_and_their_layers_do_not(monkeypatch):
    detector = case.variant('retina_face')
    model, modes = detector.model, {}
    hub = MessageHub.get_instance('losses')
    monkeypatch.setattr(MessageHub, 'get_current_instance', lambda: hub)

    def look(*args):
        modes.update({name: module.training for name, module in model.named_modules()}, epoch=hub.get_info('epoch'))
        return {}

    monkeypatch.setattr(model, 'loss', look)
    image_losses(model, *case.batch(detector, 0))
    on = {name for name, mode in modes.items() if mode is True}
    assert on == {'', 'bbox_head'} | {name for name in modes if name.startswith('bbox_head.pred') and name in on}
    norms = [name for name, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert not any(modes[name] for name in norms)
    assert modes['epoch'] > 1000
    assert not any(module.training for module in model.modules())
    assert hub.get_info('epoch') is None
    hub.update_info('epoch', 2)
    image_losses(model, *case.batch(detector, 0))
    assert modes['epoch'] == hub.get_info('epoch') == 2


def test_ground_truth_decides():
    """The loss falls when boxes are predicted where objects are: ground truth is in pixels of the input."""
    detector = case.variant('retina')
    inputs, samples = case.batch(detector, 0)
    plain = image_losses(detector.model, inputs, samples)[0]
    # Objects that are anchors, which weights of zero reproduce.
    torch.nn.init.zeros_(detector.model.bbox_head.retina_reg.weight)
    anchors = torch.cat(detector.model.bbox_head.prior_generator.grid_priors([(12, 16), (6, 8), (3, 4)], device='cpu'))
    samples[0].gt_instances.bboxes = anchors[[60, 130]]
    detector.model.bbox_head.assigner.pos_iou_thr = 0.99
    exact = image_losses(detector.model, inputs, samples)[0]
    assert exact['loss_bbox'] == pytest.approx(0, abs=1e-5)
    assert plain['loss_bbox'] > 0.1


@pytest.mark.parametrize('family', ['single_shot', 'faster', 'cascade'])
def test_the_model_does_not_notice(family):
    detector = case.variant(family)
    model = detector.model
    inputs, samples = case.batch(detector, 0)
    weights, before = copy.deepcopy(model.state_dict()), samples[0].gt_instances.bboxes.clone()
    torch.manual_seed(5)
    was = states()
    first, _ = image_losses(model, inputs, samples)
    assert states() == was
    torch.manual_seed(6)
    image_losses(model, *case.batch(detector, 1))
    assert image_losses(model, inputs, samples)[0] == first
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(samples[0].gt_instances.bboxes, before)
    assert 'pred_instances' not in samples[0]
    assert not model.training
    assert all(value.grad is None for value in model.parameters())
    if family != 'single_shot':
        # Another draw of RoIs and anchors is another loss.
        assert image_losses(model, inputs, samples, seed=1)[0] != first


def test_images_without_objects():
    for family in ('retina', 'faster', 'single_shot', 'yolo_iou', 'retina_face'):
        record = case.record(family, 3)
        assert record.limits == ()
        assert all(np.isfinite(value) for value in record.losses.values())


def test_labels_beyond_the_classes_of_a_head():
    """Matching can be seen all the same; on a GPU such a label would end the process."""
    detector = case.variant('retina')
    inputs, samples = case.batch(detector, 0)
    samples[0].gt_instances.labels = torch.tensor([0, 7])
    losses, limits = image_losses(detector.model, inputs, samples)
    assert losses == {}
    assert limits == [
        'no losses: images have objects with the label 7, but a head has num_classes=2, which allows 0 to 1; their '
        'matching is shown as that of its last class'
    ]
    assert samples[0].gt_instances.labels.tolist() == [0, 7]


def test_a_loss_that_refuses_is_told(monkeypatch):
    detector = case.variant('yolo_iou')
    inputs, samples = case.batch(detector, 0)
    samples[0].gt_instances.bboxes[0, 2] = float('nan')
    losses, (limit,) = image_losses(detector.model, inputs, samples)
    assert losses == {}
    assert limit.startswith('no losses: ValueError: YOLOIoUHead: image ')
    monkeypatch.setattr(detector.model, 'loss', lambda *_: (_ for _ in ()).throw(AssertionError))
    assert image_losses(detector.model, inputs, samples) == ({}, ['no losses: AssertionError: no message'])
    monkeypatch.setattr(detector.model, 'loss', lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError('full')))
    with pytest.raises(torch.OutOfMemoryError):
        image_losses(detector.model, inputs, samples)


class Counting(nn.Module):
    """Counts in every way that modules do."""

    def __init__(self):
        super().__init__()
        self.register_buffer('acc', torch.zeros(2))
        self.register_buffer('other', torch.zeros(2), persistent=False)
        self.calls, self.beta, self.history, self.last = 0, 0.5, [1], deque([1], maxlen=2)
        self.bbox_assigner = SimpleNamespace(pos_iou_thr=0.5)
        self.bbox_sampler = [SimpleNamespace(num=3)]

    def count(self):
        self.calls += 1
        self.acc += 1
        self.other = torch.ones(3)
        self.beta = 0.25
        self.history.append(2)
        self.last = deque([3])
        self.bbox_assigner.pos_iou_thr = 0.9
        self.bbox_sampler[0].num = 9


def test_whatever_counts_is_put_back():
    module = nn.Sequential(Counting())
    (inner,) = module
    history = inner.history

    def interrupted():
        with as_in_training(module):
            inner.count()
            assert inner.calls == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (inner.acc.tolist(), inner.other.tolist()) == ([0, 0], [0, 0])
    assert (inner.calls, inner.beta, inner.history, list(inner.last)) == (0, 0.5, [1], [1])
    assert inner.history is history
    assert (inner.bbox_assigner.pos_iou_thr, inner.bbox_sampler[0].num) == (0.5, 3)


def test_a_seed_decides_all_draws():
    def draw(seed):
        with as_in_training(nn.Identity(), seed):
            return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    was = states()
    assert draw(3) == draw(3) != draw(4)
    assert states() == was


def test_features_are_computed_once():
    model = SimpleNamespace(extract_feat=lambda batch, scale=1: calls.append(scale) or (batch * scale,))
    plain, calls, inputs = model.extract_feat, [], torch.ones(1)
    with kept_features(model, inputs):
        assert model.extract_feat(inputs) is model.extract_feat(inputs)
        assert calls == [1]
        model.extract_feat(torch.ones(1))
        model.extract_feat(inputs, scale=2)
    assert calls == [1, 1, 2]
    assert model.extract_feat is plain


def test_batches_are_not_mixed():
    augments = nn.ModuleList([nn.Identity()])
    preprocessor = nn.Module()
    preprocessor.batch_augments = augments
    with plain_batches(SimpleNamespace(data_preprocessor=preprocessor)):
        assert preprocessor.batch_augments is None
    assert preprocessor.batch_augments is augments
    preprocessor.batch_augments = None
    with plain_batches(SimpleNamespace(data_preprocessor=preprocessor)):
        assert preprocessor.batch_augments is None
    with plain_batches(SimpleNamespace(data_preprocessor=SimpleNamespace())):
        pass


def test_methods_are_put_back():
    class Thing:
        def one(self):
            return 1

        def two(self):
            return 2

    thing = Thing()
    thing.two = lambda: 3
    with replaced(thing, one=lambda: 10, two=lambda: 20):
        assert (thing.one(), thing.two()) == (10, 20)
    assert (thing.one(), thing.two()) == (1, 3)
    assert 'one' not in vars(thing)
