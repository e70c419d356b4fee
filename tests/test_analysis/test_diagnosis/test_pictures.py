"""Pictures of single images."""

import cv2
import numpy as np
import pytest
from mmdet.models.task_modules.prior_generators import AnchorGenerator
from torch import nn

from mmdet_ext.analysis.diagnosis.pictures import anchors_at_cell, draw_anchors, draw_image, draw_matching, level_color
from tests.test_analysis.test_diagnosis.record_case import objects, record, stage


class Head(nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.prior_generator = generator


class Model(nn.Module):
    def __init__(self, **heads):
        super().__init__()
        for name, generator in heads.items():
            setattr(self, name, Head(generator))


@pytest.fixture
def seen(tmp_path):
    file = tmp_path / 'a.png'
    cv2.imwrite(str(file), np.full((40, 60, 3), 90, np.uint8))
    return record(
        3,
        file=str(file),
        ori_shape=(40, 60),
        input_shape=(80, 120),
        truth=objects([[5, 5, 20, 20], [30, 10, 50, 30]], [0, 1]),
        detections=objects([[5, 5, 20, 21], [1, 1, 9, 9]], [0, 7], [0.9, 0.8]),
        proposals=objects([[5, 5, 20, 20]], [0], [0.9]),
        stages={'rpn_head': stage([(1, 0), (5, 0), (0, 0)], [1, 0], [0.7, 0.2], positives=np.array([[4, 4, 20, 20]]))},
    )


GENERATOR = AnchorGenerator(scales=[2], ratios=[1.0], strides=[8, 16])


def test_anchors_at_the_middle():
    levels = anchors_at_cell(Model(rpn_head=GENERATOR, roi_head=None), (80, 120))['rpn_head']
    # The cell of stride 8 that holds (60, 40) begins at (56, 40).
    assert levels[0].tolist() == [[48.0, 32.0, 64.0, 48.0]]
    assert levels[1].tolist() == [[32.0, 16.0, 64.0, 48.0]]
    assert anchors_at_cell(Model(), (80, 120)) == {}


def test_anchors_are_drawn_in_pixels_of_the_file_and_all_are_seen(seen):
    figure = draw_anchors(seen, {'rpn_head': [np.array([[-400.0, 0, 400, 80]])]})
    axes, blank = figure.axes
    assert not blank.axison
    assert axes.patches[-1].get_bbox().bounds == (-200, 0, 400, 40)
    assert axes.get_xlim()[0] == -202


def test_matching(seen):
    first, second = draw_matching(seen).axes
    assert (first.get_title(), second.get_title()) == ('rpn_head: 1 positives', 'best 1 proposals')
    colors = [patch.get_edgecolor()[:3] for patch in first.patches]
    # A positive, an object with one, and an object without.
    assert len(colors) == len(set(colors)) == 3
    assert draw_matching(record(file=seen.file)) is None


def test_files(seen, tmp_path):
    written = draw_image(seen, ('a', 'b'), tmp_path / 'pictures')
    assert {path.name for path in written.values()} == {'val_0000003_detections.png', 'val_0000003_matching.png'}
    assert all(path.stat().st_size > 1000 for path in written.values())


def test_a_missing_image(seen, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.png is missing or not readable'):
        draw_matching(record(file=str(tmp_path / 'none.png'), proposals=objects()))


def test_levels_have_colours_of_their_own():
    assert len({level_color(place, 5) for place in range(5)}) == 5
