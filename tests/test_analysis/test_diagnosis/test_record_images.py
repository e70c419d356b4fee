"""Records as what measures read."""

import numpy as np

from mmdet_ext.analysis.diagnosis.record_images import record_images, whole_records
from tests.test_analysis.test_diagnosis.record_case import faulty, objects, record


def test_faulty_images_are_left_out():
    records = [record(0), faulty(), record(2)]
    assert [one.index for one in whole_records(records)] == [0, 2]
    assert len(list(record_images(records))) == 2


def test_objects_and_detections():
    box = [0, 0, 9, 9]
    found = dict(detections=objects([box] * 2, [0, 3]), raw=objects([box] * 3, [0, 3, 1]))
    one = record(truth=objects([box]), ignored=np.ones((1, 4), np.float32), **found)
    (image,) = record_images([one])
    assert image.truth is one.truth
    assert image.ignored is one.ignored
    assert image.detections.labels.tolist() == [0, 3]
    (image,) = record_images([one], 3, raw=True)
    assert image.detections.labels.tolist() == [0, 1]
