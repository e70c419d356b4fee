"""pycocotools on objects in memory."""

import numpy as np
import pytest

from mmdet_ext.evaluation.average_precision import detection_ap
from mmdet_ext.evaluation.coco_figures import coco_figures
from mmdet_ext.evaluation.matching import pair_table
from tests.test_evaluation.coco_case import coco_eval, coco_precisions
from tests.test_evaluation.detection_case import image, random_images

SMALL, MEDIUM, LARGE = [0, 0, 10, 10], [100, 0, 150, 50], [200, 200, 300, 300]


@pytest.mark.parametrize('seed', range(2))
def test_classes(seed):
    """Crowds are made for the detected classes alone, which makes no difference."""
    images = random_images(seed)
    found = coco_figures(images, 5)
    evaluation = coco_eval(images, 5)
    np.testing.assert_allclose(found.ap[:, :, 0], coco_precisions(evaluation), atol=1e-15)
    recall = evaluation.eval['recall'][:, :, 0, 0]
    np.testing.assert_allclose(found.recall[:, :, 0], np.where(recall < 0, np.nan, recall))
    np.testing.assert_allclose(found.ap[:, :, 0], detection_ap(pair_table(images, 5)), atol=1e-12)


def test_sizes():
    """A detection of another size on nothing does not lower the AP of a size."""
    detections = ([[300, 0, 350, 50], SMALL, [200, 200, 300, 260]], [0] * 3, [0.9, 0.8, 0.7])
    found = coco_figures([image(([SMALL, LARGE], [0, 0]), detections)], 1)
    np.testing.assert_allclose(found.ap[:, 0, 1], 1)
    assert np.isnan(found.ap[:, 0, 2]).all()
    np.testing.assert_allclose(found.ap[:, 0, 3], [1, 1, 1, *[0] * 7])
    assert found.ap[0, 0, 0] == pytest.approx((2 / 3) * 1)
    assert found.size_objects.tolist() == [1, 0, 1]
    assert coco_figures([image(([[0, 0, 32, 32]], [0]))], 1).size_objects.tolist() == [1, 1, 0]


def test_nothing_and_nan():
    odd = image(([SMALL, [0, 0, np.nan, 1]], [0, 0]), ([SMALL, [0, 0, np.inf, 1]], [0, 0], [0.5, 0.9]))
    np.testing.assert_allclose(coco_figures([odd], 1).ap[:, :, 0], 1)
    for images, classes in (([], 2), ([image(([], []))], 2), ([image(([], []))], 0)):
        found = coco_figures(images, classes)
        assert found.ap.shape == found.recall.shape == (10, classes, 4)
        assert np.isnan(found.ap).all()
        assert found.size_objects.tolist() == [0, 0, 0]
    assert (coco_figures([image(([SMALL], [1]))], 2).ap[:, 1, 0] == 0).all()


def test_it_says_nothing(capsys):
    coco_figures([image(([SMALL], [0]), ([SMALL], [0], [0.5]))], 1)
    assert capsys.readouterr().out == ''


def test_a_label_that_is_no_class():
    with pytest.raises(ValueError, match='image 0 has an object of label 1, but there are 1 classes'):
        coco_figures([image(([SMALL], [1]))], 1)
