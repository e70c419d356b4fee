"""Trials: what each does to input and ground truth, and that a fault that was planted is undone by one."""

import numpy as np
import pytest
import torch
from mmdet.models.data_preprocessors import DetDataPreprocessor

from mmdet_ext.analysis.diagnosis import trials
from mmdet_ext.analysis.diagnosis.evidence import TRIALS
from mmdet_ext.analysis.diagnosis.predictions import Found
from mmdet_ext.analysis.diagnosis.trials import other_pixels, relabelled, run_trials
from mmdet_ext.evaluation.average_precision import detection_ap, mean_ap
from mmdet_ext.evaluation.matching import pair_table
from mmdet_ext.evaluation.objects import ImageObjects, Objects
from tests.test_analysis.test_diagnosis import detector_case as case

PLACES = [0, 1, 2]


def mean_loss(family, indices=PLACES):
    return np.mean([case.record(family, index).loss for index in indices])


def test_all_trials_of_a_detector():
    found = run_trials(case.detector('retina'), 'train', PLACES)
    assert tuple(found) == TRIALS
    assert found['plain']['loss'] == pytest.approx(mean_loss('retina'), rel=1e-5)
    assert all(figures.keys() == {'loss', 'ap'} for figures in found.values())
    assert found['half']['loss'] != pytest.approx(found['plain']['loss'], rel=1e-3)
    assert found == run_trials(case.detector('retina'), 'train', PLACES)


def test_ap_is_of_the_ground_truth_of_the_trial(monkeypatch):
    """A detector that finds everything: the objects of image 0 and 1, of two classes, and of image 2."""
    truths = {100 + index: case.record('retina', index).truth for index in range(4)}

    def perfect(model, inputs, samples, raw):
        assert not raw
        return Found(None, truths[samples[0].img_id], None)

    monkeypatch.setattr(trials, 'predict', perfect)
    found = run_trials(case.detector('retina'), 'val', PLACES, ['labels_up', 'transposed', 'half'])
    assert tuple(found) == ('plain', 'half', 'transposed', 'labels_up')
    assert found['plain']['ap'] == found['half']['ap'] == 1
    assert found['labels_up']['ap'] == 0

    def transposed(truth):
        return Objects(truth.boxes[:, [1, 0, 3, 2]], truth.labels, truth.scores)

    images = [ImageObjects(transposed(truth), truth) for truth in list(truths.values())[:3]]
    expected = mean_ap(detection_ap(pair_table(images, 2), (0.5,)))
    assert found['transposed']['ap'] == pytest.approx(expected)
    assert expected < 1


def test_swapped_channels_are_undone():
    detector = case.variant('retina')
    preprocessor = detector.model.data_preprocessor
    preprocessor._channel_conversion = False
    found = run_trials(detector, 'train', PLACES, ['channels'])
    assert found['channels']['loss'] == pytest.approx(mean_loss('retina'), rel=1e-5)
    assert found['plain']['loss'] != pytest.approx(mean_loss('retina'), rel=1e-5)
    assert preprocessor._channel_conversion is False


def test_another_size_is_undone():
    detector = case.variant('retina')
    found = run_trials(detector, 'train', [0], ['half', 'double'])
    inputs, samples, _ = next(iter(detector.batches('train', [0], 2.0)))
    assert inputs.shape[-2:] == (192, 256)
    with torch.no_grad():
        total, _ = detector.model.parse_losses(detector.model.loss(inputs, samples))
    assert found['double']['loss'] == pytest.approx(float(total), rel=1e-4)


def test_shifted_labels_are_undone():
    """A head that is sure of the wrong class."""
    detector = case.variant('retina')
    head = detector.model.bbox_head
    torch.nn.init.zeros_(head.retina_cls.weight)
    with torch.no_grad():
        head.retina_cls.bias.copy_(torch.tensor([-5.0, 2.0]).repeat(2))
    # The only object is of the first class.
    found = run_trials(detector, 'train', [2], ['labels_up', 'labels_down'])
    assert found['labels_up']['loss'] < found['plain']['loss'] - 5
    assert found['labels_up'] == found['labels_down']


def sample(index=0):
    _, samples = case.batch(case.detector('retina'), index)
    return samples[0], case.record('retina', index).truth


def test_transposed_ground_truth():
    plain, truth = sample()
    before = plain.gt_instances.bboxes.clone()
    # Height and width are scaled differently.
    plain.set_metainfo({'scale_factor': (1.6, 0.8)})
    changed, other = relabelled('transposed', plain, truth, 2)
    np.testing.assert_array_equal(other.boxes, truth.boxes[:, [1, 0, 3, 2]])
    x1, y1, x2, y2 = before[0].tolist()
    expected = torch.tensor([y1 * 2, x1 / 2, y2 * 2, x2 / 2])
    torch.testing.assert_close(changed.gt_instances.bboxes[0], expected)
    assert torch.equal(plain.gt_instances.bboxes, before)
    again, twice = relabelled('transposed', changed, other, 2)
    torch.testing.assert_close(again.gt_instances.bboxes, before)
    np.testing.assert_array_equal(twice.boxes, truth.boxes)


def test_labels_go_round():
    plain, truth = sample()
    changed, other = relabelled('labels_up', plain, truth, 2)
    assert plain.gt_instances.labels.tolist() == truth.labels.tolist() == [0, 1]
    assert changed.gt_instances.labels.tolist() == other.labels.tolist() == [1, 0]
    assert relabelled('labels_down', plain, truth, 3)[1].labels.tolist() == [2, 0]
    assert relabelled('labels_up', plain, truth, 1) is None
    assert relabelled('half', plain, truth, 1)[0] is plain


IMAGE = torch.arange(3 * 4 * 4).view(3, 4, 4).to(torch.uint8)


def seen(preprocessor):
    return preprocessor({'inputs': [IMAGE], 'data_samples': None})['inputs'][0]


@pytest.mark.parametrize('convert', [True, False])
@pytest.mark.parametrize('mean', [None, [50.0, 60, 70]])
def test_pixels_of_trials(convert, mean):
    std = None if mean is None else [60.0, 50, 40]
    preprocessor = DetDataPreprocessor(mean=mean, std=std, bgr_to_rgb=convert)
    image = IMAGE.float()
    ordered = image.flip(0) if convert else image
    plain = seen(preprocessor)
    imagenet = torch.tensor([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]])[:, :, None, None]
    # What the trial takes for red is the last channel of a file.
    average, spread = imagenet if convert else imagenet.flip(1)
    expected = {
        'plain': plain,
        'half': plain,
        'pixels_raw': ordered,
        'pixels_unit': ordered / 255,
        'pixels_imagenet': (ordered - average) / spread,
    }
    for kind, pixels in expected.items():
        with other_pixels(preprocessor, kind) as possible:
            assert possible
            torch.testing.assert_close(seen(preprocessor), pixels)
        torch.testing.assert_close(seen(preprocessor), plain)
    with other_pixels(preprocessor, 'channels'):
        swapped = seen(preprocessor)
    other = DetDataPreprocessor(mean=mean, std=std, bgr_to_rgb=not convert)
    torch.testing.assert_close(swapped, seen(other))
    torch.testing.assert_close(seen(preprocessor), plain)
    assert ('mean' in preprocessor._buffers) == (mean is not None)


def test_one_class_and_a_data_preprocessor_of_another_kind():
    detector = case.variant('retina', class_counts=[('head', 1)])
    model = detector.model
    preprocess = model.data_preprocessor

    class Other(torch.nn.Module):
        def forward(self, data, training):
            return preprocess(data, training)

    model.data_preprocessor = Other()
    found = run_trials(detector, 'train', [0])
    assert set(found) == {'plain', 'half', 'double', 'transposed'}


def test_losses_that_cannot_be_computed():
    detector = case.variant('retina')
    detector.model.loss = None
    found = run_trials(detector, 'train', [0], ['channels'])
    assert all(figures.keys() == {'ap'} for figures in found.values())
    # No object, no AP; an image that cannot be read gives nothing at all.
    assert run_trials(detector, 'train', [3], ['channels']) == {}
    assert run_trials(detector, 'train', []) == {}


def test_masks_and_landmarks_do_not_count():
    found = run_trials(case.detector('mask'), 'train', [0], [])
    losses = case.record('mask', 0).losses
    assert found['plain']['loss'] == pytest.approx(sum(losses.values()) - losses['loss_mask'], rel=1e-5)


def test_an_unknown_trial():
    with pytest.raises(ValueError, match=r"there is no trial 'mirror'; there are plain, channels"):
        run_trials(case.detector('retina'), 'train', [0], ['mirror'])


def test_predictions_that_fail(monkeypatch):
    """An image that a detector cannot take is left out, and so is a trial that cannot be made of every image."""
    plain = trials.predict

    def fragile(model, inputs, samples, raw):
        if samples[0].img_id == 101:
            raise RuntimeError('no')
        if inputs.shape[-1] > 200 and samples[0].img_id == 102:
            raise torch.OutOfMemoryError
        return plain(model, inputs, samples, raw)

    monkeypatch.setattr(trials, 'predict', fragile)
    found = run_trials(case.detector('retina'), 'train', PLACES, ['half', 'double'])
    assert tuple(found) == ('plain', 'half')
    assert found['plain']['loss'] == pytest.approx(mean_loss('retina', [0, 2]), rel=1e-5)
    monkeypatch.undo()
    assert found['half'] == run_trials(case.detector('retina'), 'train', [0, 2], ['half'])['half']
