"""All self-checks together, on a small detector."""

import pytest

from mmdet_ext.analysis.diagnosis.self_checks import check_class_names, run_self_checks
from tests.test_analysis.test_diagnosis import detector_case as case

CHECKS = {
    'labels', 'duplicates', 'box_format', 'ignored', 'empty_images', 'untrained_classes', 'leakage', 'input_size',
    'input_shape', 'pixels', 'batch_size', 'class_names', 'truth_as_predictions', 'coders',
}  # fmt: skip


def test_every_check_is_made():
    found = run_self_checks(case.detector('faster'))
    assert set(found) == CHECKS
    assert all(check.sentence.endswith('.') for check in found.values())
    assert found['coders'].figures == {'rpn_head': pytest.approx(1), 'roi_head.bbox_head': pytest.approx(1)}
    assert found['truth_as_predictions'].passed is not False


def test_training_data_alone():
    detector = case.variant('retina', splits={'train': case.detector('retina').splits['train']})
    found = run_self_checks(detector)
    assert found['truth_as_predictions'].passed is None
    assert found['leakage'].passed is None


@pytest.mark.parametrize(
    ('learnt', 'passed', 'words'),
    [
        (None, None, 'does not say'),
        (('a', 'b'), True, 'these 2 classes'),
        (['b', 'a'], False, 'the same classes in another order: b, a; the data have a, b'),
        (('a', 'c'), False, 'other classes: a, c'),
    ],
)
def test_class_names(learnt, passed, words):
    check = check_class_names(learnt, ['a', 'b'])
    assert check.passed is passed
    assert words in check.sentence
