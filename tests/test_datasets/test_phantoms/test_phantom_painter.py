import numpy as np
import pytest

from mmdet_ext.datasets.phantoms.phantom_drawing import blob
from mmdet_ext.datasets.phantoms.phantom_painter import Painter

SQUARE = np.array([(0.25, 0.25), (0.75, 0.25), (0.75, 0.5), (0.25, 0.5)])
RED, BLUE = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)


def moved(x, y=0.0):
    return SQUARE + np.array([x, y])


@pytest.mark.parametrize(('size', 'side'), [(64, 512), (256, 512), (300, 600), (1024, 1024)])
def test_covers_the_same_place_at_every_size(size, side):
    painter = Painter(size)
    painter.paint(SQUARE, RED)
    assert (painter.side, painter.picture.shape) == (side, (side, side, 3))
    small = painter.at_side(size)
    assert small[..., 2].mean() == pytest.approx(0.125, abs=0.004)
    assert small[..., :2].max() == 0
    np.testing.assert_allclose(small[int(0.4 * size), int(0.5 * size)], RED)


def test_later_colours_cover_earlier_ones_by_their_opacity():
    painter = Painter(64)
    painter.paint(SQUARE, RED)
    painter.paint(moved(0.25), BLUE)
    painter.paint(moved(-0.25), BLUE, opacity=0.25)
    at = painter.picture[int(0.4 * painter.side)]
    np.testing.assert_allclose(at[int(0.6 * painter.side)], BLUE)
    np.testing.assert_allclose(at[int(0.3 * painter.side)], (0.25, 0, 0.75))
    np.testing.assert_allclose(at[int(0.1 * painter.side)], (0.25, 0, 0))


def test_several_outlines_are_one_shape():
    """Where they overlap nothing is painted twice."""
    painter = Painter(64)
    painter.paint([SQUARE, moved(0.1)], RED, opacity=0.5)
    assert painter.picture.max() == pytest.approx(0.5, abs=1e-3)


def test_soft_edges_keep_the_sum():
    hard, soft = Painter(64), Painter(64)
    hard.paint(SQUARE, RED)
    soft.paint(SQUARE, RED, soft=0.02)
    assert soft.picture.sum() == pytest.approx(hard.picture.sum(), rel=0.01)
    assert soft.picture[int(0.25 * soft.side), soft.side // 2, 2] == pytest.approx(0.5, abs=0.05)


def test_shade_changes_from_side_to_side():
    """30 % lighter at the right end, darker at the left one, as it is in the middle."""
    painter = Painter(64)
    painter.paint(SQUARE, (0.5, 0.5, 0.5), shade=(0.3, 0.0))
    row = painter.picture[int(0.4 * painter.side), :, 0]
    ends = [row[round(x * painter.side)] for x in (0.255, 0.5, 0.745)]
    np.testing.assert_allclose(ends, [0.35, 0.5, 0.65], atol=0.005)
    painter.paint(SQUARE, (0.5, 0.5, 0.5), shade=(0.0, -0.3))
    column = painter.picture[:, painter.side // 2, 0]
    assert column[round(0.26 * painter.side)] > 0.62 > 0.38 > column[round(0.49 * painter.side)]


def test_what_is_cut_by_the_border_or_beside_the_picture():
    painter = Painter(64)
    painter.paint(blob(np.random.default_rng(0), 1.0), RED, shade=(0.2, 0.2))  # a quarter of it is in the picture
    assert painter.picture[..., 2].mean() == pytest.approx(np.pi / 16, rel=0.2)
    before = painter.picture.copy()
    for x, y in ((2.0, 0.5), (-2.0, 0.5), (0.5, 3.0), (0.5, -3.0)):
        painter.paint(moved(x, y), BLUE, soft=0.01)
    np.testing.assert_array_equal(painter.picture, before)


def test_at_side_up_and_down():
    painter = Painter(64, work_size=64)
    painter.paint(SQUARE, RED)
    assert painter.side == 64
    for side in (32, 128):
        assert painter.at_side(side).shape == (side, side, 3)
        assert painter.at_side(side).mean() == pytest.approx(painter.picture.mean(), rel=0.01)
    same = painter.at_side(64)
    same += 1
    assert painter.picture.max() == 1
