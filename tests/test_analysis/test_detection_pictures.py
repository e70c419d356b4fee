"""Pictures of predictions beside the ground truth."""

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmdet_ext.analysis.detection_pictures import choose_images, class_colors, draw_comparison, keep_best_per_place
from mmdet_ext.evaluation.objects import Objects

CLASSES = ['nodule', 'mass', 'cavity']


@pytest.fixture
def image(tmp_path):
    file = tmp_path / 'image.png'
    cv2.imwrite(str(file), np.full((64, 64), 60, np.uint8))
    return file


@pytest.fixture
def figures(monkeypatch):
    """The figures saved during a test."""
    saved = []
    original = Figure.savefig

    def savefig(self, *args, **kwargs):
        saved.append(self)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Figure, 'savefig', savefig)
    return saved


def rectangles(axes):
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def is_solid(patch):
    return patch.get_linestyle() in ('-', 'solid')


def test_each_class_has_its_own_color():
    for number in (3, 10, 80):
        colors = class_colors([str(i) for i in range(number)])
        assert len(colors) == number
        assert len(set(colors.values())) >= min(number, 70)


def test_only_the_most_confident_name_of_a_place_is_kept():
    detected = Objects(
        [[0, 0, 10, 10], [0, 0, 10, 9], [30, 30, 40, 40], [50, 50, 60, 60]], [0, 1, 2, 0], [0.5, 0.8, 0.4, 0.1]
    )
    kept = keep_best_per_place(detected, score_thr=0.3)
    assert kept.labels.tolist() == [1, 2]
    assert len(keep_best_per_place(detected, score_thr=0.95)) == 0


def test_images_are_chosen_by_their_annotations_in_order():
    def objects(*labels):
        return Objects([[0, 0, 9, 9]] * len(labels), labels, [1] * len(labels))

    truth = {3: objects(1), 1: objects(0, 1), 2: objects(0), 4: objects()}
    assert choose_images(truth, [0, 1, 2]) == [1, 3]
    assert choose_images(truth, [0, 0, 0]) == [1, 2]


def test_right_wrong_and_missed_are_drawn_differently(image, figures, tmp_path):
    truth = Objects([[5, 5, 20, 20], [30, 30, 50, 50], [5, 45, 15, 60]], [0, 1, 2], [1, 1, 1])
    detected = Objects([[5, 5, 20, 19], [30, 30, 50, 51], [40, 2, 60, 12]], [0, 0, 2], [0.9, 0.8, 0.2])
    out = draw_comparison(image, truth, {'plain': detected, 'other': truth}, CLASSES, tmp_path / 'new' / 'a.jpg')
    written = cv2.imread(str(out))
    assert written.shape[1] > 3 * 400, 'small images are enlarged'
    panels = figures[0].axes
    assert [panel.get_title() for panel in panels] == [
        'ground truth',
        'plain:  1 right, 1 wrong, 1 missed',
        'other:  3 right',
    ]
    assert [len(rectangles(panel)) for panel in panels] == [3, 3, 3]
    assert [is_solid(patch) for patch in rectangles(panels[1])] == [False, True, False]
    assert all(is_solid(patch) for panel in (panels[0], panels[2]) for patch in rectangles(panel))
    assert [text.get_text() for text in panels[0].texts] == CLASSES
    assert [text.get_text() for text in panels[1].texts] == ['nodule 0.90', 'nodule 0.80']


def test_labels_of_neighbours_do_not_cover_each_other(image, figures, tmp_path):
    boxes = [[10, 10, 20, 20], [14, 22, 24, 32], [12, 34, 22, 44], [52, 0, 64, 12]]
    truth = Objects(boxes, [0, 0, 0, 1], [1] * 4)
    draw_comparison(image, truth, {}, CLASSES, tmp_path / 'a.png')
    (panel,) = figures[0].axes
    renderer = figures[0].canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in panel.texts]
    frame = panel.get_window_extent(renderer)
    for index, extent in enumerate(extents):
        assert not any(extent.overlaps(other) for other in extents[:index])
        assert frame.xmin <= extent.xmin
        assert extent.xmax <= frame.xmax
        assert frame.ymin <= extent.ymin
        assert extent.ymax <= frame.ymax


def test_no_objects_at_all(image, figures, tmp_path):
    nothing = Objects([], [], [])
    draw_comparison(image, nothing, {'plain': nothing}, CLASSES, tmp_path / 'a.png')
    assert figures[0].axes[1].get_title() == 'plain:  0 right'


def test_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.png is missing or not readable'):
        draw_comparison(tmp_path / 'none.png', Objects([], [], []), {}, CLASSES, tmp_path / 'a.png')
