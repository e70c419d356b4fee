"""The two sides of the batch benchmark on few boxes."""

import pytest
import torch

from mmdet_ext.analysis.benchmarks.geometry_batch import GeometryBatchCase


def test_batch_and_single_images_agree():
    case = GeometryBatchCase((5, 0, 3))
    assert case.title == 'geometry-batch, 3 images of 0 to 5 RoIs'
    batch, single = (run() for run in case.prepare(torch.device('cpu'), 0))
    case.check(batch, single)
    assert batch.shape == (8, 256)
    with pytest.raises(ValueError, match=r'geometry-batch: the batch differs from its images by 1.0e\+00'):
        case.check(batch + 1, single)
