import cv2
import numpy as np
import pytest

from mmdet_ext.datasets.phantoms.phantom_drawing import Canvas, blob, bounds, contact_sheet, spline, stroke, to_pixels

SQUARE = np.array([(0.251, 0.251), (0.751, 0.251), (0.751, 0.501), (0.251, 0.501)])


@pytest.mark.parametrize('closed', [True, False])
def test_spline_passes_through_its_points(closed):
    points = np.random.default_rng(0).random((6, 2))
    curve = spline(points, closed, steps=5)
    assert len(curve) == (30 if closed else 26)
    np.testing.assert_allclose(curve[::5][:6], points, atol=1e-12)


def test_spline_of_a_straight_line_is_straight():
    curve = spline([(0, 0), (1, 2), (2, 4)], closed=False)
    np.testing.assert_allclose(curve[:, 1], 2 * curve[:, 0], atol=1e-12)


def test_stroke_has_the_asked_width():
    outline = stroke([(0, 0), (1, 0), (2, 0)], 0.2, 0.4)
    np.testing.assert_allclose(outline[[0, 2, 3, 5]], [(0, 0.1), (2, 0.2), (2, -0.2), (0, -0.1)], atol=1e-12)
    np.testing.assert_allclose(bounds(stroke([(0, 0), (1, 0)], 0.2)), [0, -0.1, 1, 0.1], atol=1e-12)


def test_blob_without_bumps_is_an_ellipse():
    outline = blob(np.random.default_rng(0), 2.0, aspect=4.0)
    radius = np.hypot(*outline.T)
    assert radius.max() == pytest.approx(2.0)
    assert radius.min() == pytest.approx(0.5)
    rough = np.hypot(*blob(np.random.default_rng(0), 2.0, rough=0.1).T)
    assert 0.02 < np.ptp(rough) < 0.6


@pytest.mark.parametrize('size', [64, 160, 333, 1024])
def test_fill_covers_the_same_place_at_every_size(size):
    canvas = Canvas(size)
    assert canvas.side % size == 0
    picture = canvas.reduce(canvas.fill([SQUARE]))
    assert picture.shape == (size, size)
    assert picture.mean() == pytest.approx(0.125, abs=0.006)
    x, y = (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size
    assert (picture.sum(0) * x).sum() / picture.sum() == pytest.approx(0.501, abs=1e-3)
    assert (picture.sum(1) * y).sum() / picture.sum() == pytest.approx(0.376, abs=1e-3)


@pytest.mark.parametrize('diameter', [0.06, 0.2])
@pytest.mark.parametrize('size', [64, 160, 512])
def test_tight_discs_have_the_asked_size(size, diameter):
    canvas = Canvas(size)
    disc = blob(np.random.default_rng(0), diameter) + np.array([0.43, 0.57])
    painted = [canvas.fill([outline]).sum() / canvas.side**2 for outline in (disc, canvas.tight(disc))]
    wide, exact = 2 * np.sqrt(np.divide(painted, np.pi)) - diameter
    assert abs(exact) * canvas.side < 0.15 < wide * canvas.side


def test_fill_values_and_order():
    canvas = Canvas(320)
    picture = canvas.fill([SQUARE, SQUARE * 0.5 + 0.2], values=[1.0, 0.4])
    assert picture[int(0.45 * 320), int(0.7 * 320)] == 1.0
    assert picture[int(0.4 * 320), int(0.5 * 320)] == 0.4
    assert picture[0, 0] == 0


@pytest.mark.parametrize('soft', [0.004, 0.05])
def test_soften_spreads_as_asked_and_keeps_the_sum(soft):
    canvas = Canvas(320)
    picture = canvas.fill([SQUARE])
    blurred = canvas.soften(picture, soft)
    assert blurred.dtype == np.float64
    assert blurred.sum() == pytest.approx(picture.sum(), rel=0.01)
    column = blurred[:, 160]  # across a straight edge the blur is the normal distribution function
    slope = np.abs(np.diff(column[: int(0.375 * 320)])).max() * 320
    assert slope == pytest.approx(1 / (soft * np.sqrt(2 * np.pi)), rel=0.25)
    assert canvas.soften(picture, 0.0) is picture


def test_to_pixels_rounds_and_clips():
    np.testing.assert_array_equal(to_pixels(np.array([-1.0, 0.5, 2.0])), np.array([0, 128, 255], np.uint8))


def test_contact_sheet_shows_every_image_and_box():
    images = [np.full((64, 64), 40 * k, np.uint8) for k in range(1, 6)]
    boxes = [[], [(16, 16, 32, 32)], [(0, 0, 8, 8), (50, 2, 13, 5)], [], []]
    sheet = contact_sheet(
        images, boxes, [[], [0], [0, 11], [], []], [f'name {i}' for i in range(12)], columns=2, tile=128
    )
    assert sheet.shape == (3 * 128, 2 * 128, 3)
    assert (sheet[64, 64] == 40).all()
    assert len(set(sheet[64, 128 + 32].tolist())) == 3  # ink is coloured, the radiograph is grey
    hsv = cv2.cvtColor(sheet, cv2.COLOR_BGR2HSV)[..., 1]
    assert (hsv[:128, :128] == 0).all()
    assert (hsv[128:256, 128 - 40 : 128] > 0).any()  # the second name is moved into its tile
