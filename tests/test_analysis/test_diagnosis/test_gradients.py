"""Gradients of loss terms at the feature maps, against autograd by hand."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from mmdet_ext.analysis.diagnosis.gradients import measure_gradients
from mmdet_ext.analysis.diagnosis.image_losses import as_in_training
from tests.test_analysis.test_diagnosis import detector_case as case


def by_hand(detector, index):
    """Gradient of each term at the neck's maps, one row each, with the whole graph."""
    inputs, samples = case.batch(detector, index)
    maps = []

    def cut(module, inputs, outputs):
        # The last map is made of the one before it.
        maps.extend(level.detach().requires_grad_() for level in outputs)
        return tuple(maps)

    neck = detector.model.neck.register_forward_hook(cut)
    with as_in_training(detector.model):
        losses = detector.model.loss(inputs, samples)
        rows = {}
        for name, value in losses.items():
            if 'loss' in name:
                total = sum(part.mean() for part in value) if isinstance(value, list) else value.mean()
                found = torch.autograd.grad(total, maps, retain_graph=True, allow_unused=True)
                rows[name] = torch.cat([
                    torch.zeros(level.numel()) if own is None else own.flatten()
                    for own, level in zip(found, maps, strict=True)
                ])  # fmt: skip
    neck.remove()
    return rows


@pytest.mark.parametrize('family', ['retina', 'faster', 'single_shot'])
def test_means_over_images(family):
    detector = case.detector(family)
    found = measure_gradients(detector, 'train', [0, 1])
    one, two = by_hand(detector, 0), by_hand(detector, 1)
    assert (found.images, found.limits) == (2, ())
    assert found.norms == pytest.approx(
        {name: float(one[name].norm() + two[name].norm()) / 2 for name in one}, rel=1e-4
    )
    for (a, b), cosine in found.cosines.items():
        expected = [float(cosine_similarity(rows[a], rows[b], dim=0)) for rows in (one, two) if rows[a].any()]
        assert cosine == pytest.approx(sum(expected) / len(expected), abs=1e-4)
    assert len(found.cosines) == len(one) * (len(one) - 1) // 2


def test_a_term_that_weighs_more_pulls_harder():
    detector = case.variant('retina')
    before = measure_gradients(detector, 'train', [0])
    detector.model.bbox_head.loss_bbox.loss_weight *= 10
    after = measure_gradients(detector, 'train', [0])
    assert after.norms['loss_bbox'] == pytest.approx(10 * before.norms['loss_bbox'], rel=1e-3)
    assert after.norms['loss_cls'] == pytest.approx(before.norms['loss_cls'], rel=1e-4)
    assert after.cosines == pytest.approx(before.cosines, abs=1e-4)


@pytest.mark.parametrize('family', ['single_shot', 'cascade', 'retina_face'])
def test_the_model_does_not_notice(family):
    detector = case.variant(family)
    before = {name: value.clone() for name, value in detector.model.state_dict().items()}
    measure_gradients(detector, 'train', [0])
    assert all(torch.equal(value, before[name]) for name, value in detector.model.state_dict().items())
    assert all(value.grad is None for value in detector.model.parameters())
    assert 'extract_feat' not in vars(detector.model)
    assert torch.is_grad_enabled()


def test_images_without_objects_have_no_gradient_of_boxes():
    found = measure_gradients(case.detector('retina'), 'train', [3])
    assert found.norms['loss_bbox'] == 0
    assert found.norms['loss_cls'] > 0
    assert found.cosines == {}


def test_what_cannot_be_measured(monkeypatch):
    detector = case.variant('retina')

    def fails(*args):
        raise IndexError('label')

    monkeypatch.setattr(detector.model.bbox_head, 'loss', fails)
    found = measure_gradients(detector, 'train', [0, 1])
    assert (found.images, found.norms, found.cosines) == (0, {}, {})
    assert found.limits == ('no gradients: IndexError: label',)
    monkeypatch.setattr(detector.model.bbox_head, 'loss', lambda *_: {'acc': torch.ones(1)})
    found = measure_gradients(detector, 'train', [0])
    assert found.limits == ('no gradients: SingleStageDetector gives no feature maps or no losses',)
    monkeypatch.setattr(detector.model, 'loss', lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError('full')))
    with pytest.raises(torch.OutOfMemoryError):
        measure_gradients(detector, 'train', [0])
    assert measure_gradients(detector, 'train', []).images == 0
