"""A detector and its images: what is chosen, what is noted of each, and what is an error."""

import copy
import json

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmdet_ext.analysis.diagnosis.detector import DiagnosedDetector, spread
from mmdet_ext.analysis.diagnosis.record import read_record, write_record
from mmdet_ext.analysis.diagnosis.split_data import open_split
from tests.test_analysis.test_diagnosis import detector_case as case


@pytest.mark.parametrize('family', case.FAMILIES)
def test_every_kind_of_detector_is_examined(family, tmp_path):
    for split in ('train', 'val'):
        for index in (1, 3):
            record = case.record(family, index, split)
            assert record.fault is None
            assert (record.split, record.index, record.img_id) == (split, index, 100 + index)
            assert record.file == str(case.folder() / f'{index}.png')
            assert (record.ori_shape, record.input_shape) == ((60, 80), (96, 128))
            assert np.isfinite(list(record.losses.values())).all()
            assert record.losses
            assert len(record.truth) == len(case.BOXES[index])
            assert record.ignored.shape == (int(index == 1), 4)
            assert record.pixels.shape == (2, 3)
    # Both splits have the same images, and nothing is random.
    one, two = case.record(family, 1, 'train'), case.record(family, 1, 'val')
    assert one.losses == two.losses
    assert one.digest == two.digest != case.record(family, 3).digest
    read = read_record(write_record(one, tmp_path / 'record.npz'))
    assert (read.limits, read.losses, read.loss) == (one.limits, one.losses, one.loss)
    assert read.stages.keys() == one.stages.keys()
    for name, stage in read.stages.items():
        np.testing.assert_array_equal(stage.histograms, one.stages[name].histograms)
    np.testing.assert_array_equal(read.raw.boxes, one.raw.boxes)


def test_pixels_are_those_the_model_sees():
    record = case.record('retina', 0)
    picture = cv2.resize(cv2.imread(str(case.folder() / '0.png')), (128, 96))[..., ::-1].astype(np.float64)
    seen = (picture - [50, 60, 70]) / [60, 50, 40]
    np.testing.assert_allclose(record.pixels[0], seen.mean((0, 1)), rtol=1e-4)
    np.testing.assert_allclose(record.pixels[1], seen.std((0, 1)), rtol=1e-4)


def test_padding_does_not_count():
    detector = case.variant('retina')
    detector.model.data_preprocessor.pad_size_divisor = 512
    detector.model.data_preprocessor.pad_value = 1000
    record = detector.examine('val', 0)
    assert record.input_shape == (96, 128)
    np.testing.assert_allclose(record.pixels, case.record('retina', 0).pixels, rtol=1e-5)


def test_padding_of_the_pipeline_does_not_count():
    """Pad writes the padded size into `img_shape`."""
    detector = case.variant('retina', cfg=copy.deepcopy(case.detector('retina').cfg))
    detector.cfg.val_dataloader.dataset.pipeline.insert(2, dict(type='Pad', size=(192, 160)))
    detector.splits = {'val': open_split(detector.cfg, 'val')}
    record = detector.examine('val', 0)
    assert record.input_shape == (96, 128)
    np.testing.assert_allclose(record.pixels, case.record('retina', 0).pixels, rtol=1e-5)


def test_images_by_number():
    detector = DiagnosedDetector(*case.files('retina'), num=3)
    assert detector.chosen == {'train': [0, 2, 3], 'val': [0, 2, 3]}
    assert detector.classes == detector.learnt == case.CLASSES
    assert detector.class_counts == [('model.bbox_head.num_classes', 2)]
    assert (detector.meta['epoch'], detector.meta['iter']) == (3, 6)
    assert not detector.model.training
    assert case.detector('rpn').class_counts == []


@given(st.integers(1, 50), st.none() | st.integers(1, 60))
def test_images_are_spread(length, num):
    places = spread(length, num)
    assert len(places) == min(length, num or length)
    assert places == sorted(set(places))
    assert places[0] == 0
    assert 0 <= places[-1] < length
    if len(places) > 1:
        assert places[-1] == length - 1
        assert max(np.diff(places)) - min(np.diff(places)) <= 1


def test_images_by_name(tmp_path):
    config, checkpoint = case.files('retina')
    content = json.loads((case.folder() / 'ann.json').read_text())
    other = {**content, 'images': content['images'][2:], 'annotations': content['annotations'][4:5]}
    (tmp_path / 'val.json').write_text(json.dumps(other))
    options = {'val_dataloader.dataset.ann_file': str(tmp_path / 'val.json')}
    detector = DiagnosedDetector(config, checkpoint, image_ids=['2.png', '101', '2', '102'], cfg_options=options)
    assert detector.chosen == {'train': [1, 2], 'val': [0]}
    assert detector.examine('val', 0).img_id == 102
    with pytest.raises(ValueError, match=r'--image-ids: the data \(val\) has no image .* id 1010; did you mean 101\?'):
        DiagnosedDetector(config, checkpoint, splits=['val'], image_ids=['1010'])


def test_bad_options(tmp_path):
    config, checkpoint = case.files('retina')
    with pytest.raises(ValueError, match='--num 0: the number of images must be at least 1'):
        DiagnosedDetector(config, checkpoint, num=0)
    for splits in (['valid'], [], ['val', 'val']):
        with pytest.raises(ValueError, match=r'--split .*: name each of train, val, test once at most'):
            DiagnosedDetector(config, checkpoint, splits=splits)
    with pytest.raises(FileNotFoundError, match='There is no config'):
        DiagnosedDetector(tmp_path / 'none.py', checkpoint)
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        DiagnosedDetector(config, tmp_path / 'none.pth')
    with pytest.raises(ValueError, match='has no test data that can be read'):
        DiagnosedDetector(config, checkpoint, splits=['test'])
    with pytest.raises(ValueError, match=r'fcos\.pth does not fit the model'):
        DiagnosedDetector(config, case.files('fcos')[1], splits=['val'])


def test_classes_that_disagree_are_left_to_the_verdict(tmp_path):
    """A head of one class and data of two: matching and detections are there, losses are not."""
    config, checkpoint = case.files('retina')
    stored = torch.load(checkpoint)
    stored['meta']['dataset_meta']['classes'] = ('z',)
    state = stored['state_dict']
    for name in ('bbox_head.retina_cls.weight', 'bbox_head.retina_cls.bias'):
        state[name] = state[name][::2]
    torch.save(stored, tmp_path / 'one.pth')
    detector = DiagnosedDetector(
        config, tmp_path / 'one.pth', splits=['val'], cfg_options={'model.bbox_head.num_classes': 1}
    )
    assert (detector.learnt, detector.classes) == (('z',), case.CLASSES)
    assert detector.class_counts == [('model.bbox_head.num_classes', 1)]
    record = detector.examine('val', 0)
    assert record.losses == {}
    assert record.limits == (
        'no losses: images have objects with the label 1, but a head has num_classes=1, which allows 0 to 0; their '
        'matching is shown as that of its last class',
    )
    np.testing.assert_array_equal(
        record.stages['bbox_head'].gt_positives, case.record('retina', 0).stages['bbox_head'].gt_positives
    )
    assert len(record.raw)
    assert detector.examine('val', 2).losses  # its only object is of the first class


def test_another_data_set(tmp_path):
    config, checkpoint = case.files('retina')
    case.write_data(tmp_path)
    data = case.data_config(tmp_path, dict(type='LoadAnnotations', with_bbox=True), 'PackDetInputs', 'CocoDataset')
    data['val_evaluator'] = dict(type='CocoMetric')
    data['test_dataloader'] = data['val_dataloader']
    other = case.write_config(tmp_path / 'data.py', data)
    detector = DiagnosedDetector(config, checkpoint, splits=['val'], dataset=other)
    assert detector.examine('val', 0).file == str(tmp_path / '0.png')


def test_a_damaged_image_has_a_fault(tmp_path):
    detector = case.variant('retina')
    config, checkpoint = case.files('retina')
    case.write_data(tmp_path)
    (tmp_path / '1.png').write_bytes(b'no image')
    options = {'val_dataloader.dataset.data_root': str(tmp_path)}
    detector = DiagnosedDetector(config, checkpoint, splits=['val'], cfg_options=options)
    record = detector.examine('val', 1)
    assert record.fault.startswith(f'{tmp_path / "1.png"} cannot be used: ')
    assert (record.img_id, record.losses, len(record.truth), record.digest) == (101, {}, 0, '')
    assert detector.examine('val', 2).fault is None
    found = [image.truth for _, _, image in detector.batches('val', [0, 1, 2])]
    assert [len(truth) for truth in found] == [2, 1]


def test_a_prediction_that_fails_is_a_fault(monkeypatch):
    detector = case.variant('retina')
    monkeypatch.setattr(detector.model, 'predict', lambda *args, **kwargs: [][0])
    record = detector.examine('val', 0)
    assert record.fault == 'the prediction failed: IndexError: list index out of range'
    assert record.losses == {}
    full = torch.OutOfMemoryError('full')
    monkeypatch.setattr(detector.model, 'predict', lambda *args, **kwargs: (_ for _ in ()).throw(full))
    with pytest.raises(torch.OutOfMemoryError):
        detector.examine('val', 0)


def test_objects_that_a_transform_drops(monkeypatch):
    detector = case.detector('retina')
    inputs, samples = case.batch(detector, 0)
    image = detector.splits['train'].load(0)
    samples[0].gt_instances = samples[0].gt_instances[1:]
    monkeypatch.setattr(DiagnosedDetector, 'prepare', lambda *_: (inputs, samples))
    record = detector.examine('train', 0)
    np.testing.assert_allclose(record.truth.boxes, image.truth.boxes[1:], rtol=1e-5)
    assert record.truth.labels.tolist() == image.truth.labels[1:].tolist()
    assert len(record.stages['bbox_head'].gt_positives) == 1
