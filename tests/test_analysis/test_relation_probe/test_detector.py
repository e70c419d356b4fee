"""A trained detector and its data; what is wrong with them is said in a sentence."""

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.structures import InstanceData

from mmdet_ext.analysis.relation_probe.detector import ProbedDetector, count_parameters, quiet
from mmdet_ext.analysis.relation_probe.record import PredictionRecorder
from tests.test_analysis.test_relation_probe import probe_case


def test_the_first_images():
    detector = probe_case.detector(cascade=True)
    assert len(detector.dataset) == 2
    assert len(detector.whole) == 3
    assert not detector.model.training
    assert [len(batch.samples) for batch in detector.batches()] == [2]
    assert detector.evaluator.metrics[0].classwise
    assert count_parameters(torch.nn.Linear(2, 3)) == 9


def test_given_proposals_are_taken():
    detector = probe_case.detector()
    data = next(iter(detector.loader))
    boxes = torch.tensor([[1.0, 2, 30, 40]])
    for sample in data['data_samples']:
        sample.proposals = InstanceData(bboxes=boxes, scores=torch.ones(1))
    assert torch.equal(detector.prepare(data).proposals[0].bboxes, boxes)


@pytest.mark.parametrize('cascade', [False, True])
def test_probabilities_are_those_of_the_prediction(cascade):
    detector, batch = probe_case.detector(cascade), probe_case.batch(cascade)
    with PredictionRecorder(detector.model.roi_head) as predictions:
        detector.predict(batch)
    with torch.no_grad():
        torch.testing.assert_close(detector.probabilities(batch), torch.cat(predictions.last.scores))


def test_images_by_name_and_id():
    detector = probe_case.detector()
    info = detector.whole.get_data_info(2)
    assert detector.find_images(['000003.png', '000003', str(info['img_id']), info['img_path']]) == [2] * 4
    with pytest.raises(ValueError, match=r'no image with the file name or id 00002; did you mean 000002'):
        detector.find_images(['00002'])
    with pytest.raises(ValueError, match=r'file name or id zzz$'):
        detector.find_images(['zzz'])


def test_bad_input(tmp_path):
    files = probe_case.files()
    with pytest.raises(ValueError, match='--num 0: the number of images must be at least 1'):
        ProbedDetector(files.config, files.checkpoint, num=0)
    with pytest.raises(FileNotFoundError, match='There is no config'):
        ProbedDetector(tmp_path / 'none.py', files.checkpoint)
    with pytest.raises(FileNotFoundError, match=r'There is no checkpoint none\.pth'):
        ProbedDetector(files.config, 'none.pth')
    with pytest.raises(ValueError, match=r"annotation file '/nowhere\.json' does not exist"):
        ProbedDetector(
            files.config, files.checkpoint, cfg_options={'test_dataloader.dataset.ann_file': '/nowhere.json'}
        )
    with pytest.raises(ValueError, match=r'plain\.pth does not fit the model.* It is of a plain detector'):
        ProbedDetector(files.config, files.plain_checkpoint)
    with pytest.raises(ValueError, match=r'tensors .* missing in it .* Use the config it was trained with'):
        ProbedDetector(files.cascade, files.checkpoint)


def test_a_checkpoint_of_other_classes(tmp_path):
    files = probe_case.files()
    stored = torch.load(files.checkpoint)
    stored['meta'] = {'dataset_meta': {'classes': ('a', 'b')}}
    torch.save(stored, tmp_path / 'other.pth')
    with pytest.raises(
        ValueError, match=r'was trained on 2 classes \(a, b\), the test data of .* have 10 \(nodule, mult'
    ):
        ProbedDetector(files.config, tmp_path / 'other.pth')


def test_quiet(capsys):
    logger = MMLogger.get_current_instance()
    level = logger.level
    with quiet():
        print('table')
        assert not logger.isEnabledFor(logging.INFO)
    assert logger.level == level
    assert capsys.readouterr().out == ''
