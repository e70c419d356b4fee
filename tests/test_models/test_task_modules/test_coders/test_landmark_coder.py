"""Landmarks to offsets and back."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import HorizontalBoxes
from torch.testing import assert_close

from mmdet_ext.models.task_modules.coders import LandmarkCoder

PRIORS = torch.tensor([[0.0, 0, 20, 10], [30, 40, 70, 140]])
NAN = float('nan')


def test_closed_form():
    coder = TASK_UTILS.build(dict(type='LandmarkCoder', variance=0.5))
    landmarks = torch.tensor([[[10.0, 5], [20, 10]], [[30, 140], [51, 92]]])
    deltas = coder.encode(PRIORS, landmarks)
    # Row by row x0, y0, x1, y1: offsets of (0, 0), (10, 5) in halves of (20, 10), and so on.
    assert_close(deltas, torch.tensor([[0, 0, 1, 1], [-1, 1, 1 / 20, 2 / 50]]))
    assert_close(coder.decode(PRIORS, deltas), landmarks)


def test_variance():
    landmarks = torch.rand(2, 5, 2) * 50
    assert_close(LandmarkCoder().encode(PRIORS, landmarks), LandmarkCoder(1.0).encode(PRIORS, landmarks) * 10)
    for variance in (0.0, -0.1, NAN, float('inf')):
        with pytest.raises(
            ValueError, match=re.escape(f'LandmarkCoder: variance={variance!r}, must be a number above')
        ):
            LandmarkCoder(variance)


def test_centres_are_those_of_boxes():
    """A point at the centre of a box and the box have the same two deltas."""
    boxes = torch.tensor([[3.0, 2, 9, 8], [20, 60, 80, 100]])
    box_coder = TASK_UTILS.build(dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]))
    centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    assert_close(LandmarkCoder().encode(PRIORS, centres), box_coder.encode(PRIORS, boxes)[:, :2])


@settings(max_examples=50, deadline=None)
@given(number=st.integers(0, 6), points=st.integers(1, 7), seed=st.integers(0, 999))
def test_round_trip(number, points, seed):
    generator = torch.Generator().manual_seed(seed)
    priors = torch.rand(number, 4, generator=generator, dtype=torch.float64) * 500
    priors[:, 2:] += priors[:, :2]
    landmarks = torch.randn(number, points, 2, generator=generator, dtype=torch.float64) * 300
    coder = LandmarkCoder()
    deltas = coder.encode(priors, landmarks)
    assert deltas.shape == (number, 2 * points)
    assert_close(coder.decode(priors, deltas), landmarks)


def test_shift_and_scale():
    """Deltas are of the same prior whatever its place and size, x and y apart."""
    coder, landmarks = LandmarkCoder(), torch.rand(2, 5, 2) * 50
    deltas = coder.encode(PRIORS, landmarks)
    scale, shift = torch.tensor([3.0, 0.5]), torch.tensor([7.0, -20.0])
    assert_close(coder.encode(PRIORS * scale.repeat(2) + shift.repeat(2), landmarks * scale + shift), deltas)


def test_order_of_points():
    coder, order = LandmarkCoder(), [1, 0, 2, 4, 3]
    landmarks = torch.rand(2, 5, 2) * 50
    deltas = coder.encode(PRIORS, landmarks)
    assert torch.equal(coder.encode(PRIORS, landmarks[:, order]), deltas.view(2, 5, 2)[:, order].flatten(1))


def test_batches():
    """Priors without the leading dimensions of the deltas, and with them."""
    coder, deltas = LandmarkCoder(), torch.randn(3, 2, 10)
    found = coder.decode(PRIORS, deltas)
    assert found.shape == (3, 2, 5, 2)
    for own, other in zip(deltas, found, strict=True):
        assert torch.equal(coder.decode(PRIORS, own), other)
    assert torch.equal(coder.decode(PRIORS.expand(3, 2, 4), deltas), found)


def test_clamping():
    """Only with a shape, height first, and both ends of both axes."""
    coder = LandmarkCoder(1.0)
    priors = torch.tensor([[0.0, 0, 10, 10]])
    deltas = torch.tensor([[-9.0, 0, 9, 0, 0, -9, 0, 9, 0.1, 0.2]])
    assert coder.decode(priors, deltas)[0].tolist() == [[-85, 5], [95, 5], [5, -85], [5, 95], [6, 7]]
    clamped = [[0, 5], [8, 5], [5, 0], [5, 6], [6, 6]]
    for shape in ((6, 8), (6, 8, 3)):
        assert coder.decode(priors, deltas, max_shape=shape)[0].tolist() == clamped


@pytest.mark.parametrize('prior', [[5.0, 5, 5, 5], [5, 5, 4, 3], [5, 5, 5, 9]], ids=['point', 'inverted', 'line'])
def test_priors_without_extent(prior):
    coder, priors = LandmarkCoder(), torch.tensor([prior])
    landmarks = torch.tensor([[[4.0, 3], [600, -700]]])
    deltas = coder.encode(priors, landmarks)
    assert deltas.isfinite().all()
    assert_close(coder.decode(priors, deltas), landmarks)


def test_what_is_not_a_number_stays_alone():
    coder = LandmarkCoder()
    landmarks = torch.ones(2, 2, 2)
    landmarks[1, 0, 1] = NAN
    deltas = coder.encode(PRIORS, landmarks)
    assert deltas.isnan().nonzero().tolist() == [[1, 1]]
    for shape in (None, (50, 50)):
        assert coder.decode(PRIORS, deltas, max_shape=shape).isnan().nonzero().tolist() == [[1, 0, 1]]
    assert coder.encode(PRIORS * torch.tensor([[1.0], [NAN]]), torch.ones(2, 2, 2)).isnan().any(1).tolist() == [0, 1]


def test_no_rows():
    coder = LandmarkCoder()
    assert coder.encode(torch.zeros(0, 4), torch.zeros(0, 5, 2)).shape == (0, 10)
    assert coder.decode(torch.zeros(0, 4), torch.zeros(0, 10), max_shape=(4, 4)).shape == (0, 5, 2)
    assert coder.decode(torch.zeros(0, 4), torch.zeros(2, 0, 10)).shape == (2, 0, 5, 2)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.int64])
def test_half_and_whole_numbers(dtype):
    """Of big boxes half precision is pixels off; so results are float32, under autocast too."""
    coder = LandmarkCoder()
    landmarks, priors = torch.tensor([[[1000.0, 502]]]), torch.tensor([[900.0, 500, 1100, 600]])
    with torch.autocast('cpu', dtype=torch.bfloat16):
        deltas = coder.encode(priors.to(dtype), landmarks.to(dtype))
        found = coder.decode(priors, torch.tensor([[1.25, -2.5]]).to(dtype if dtype.is_floating_point else torch.half))
    assert deltas.dtype == found.dtype == torch.float32
    exact = coder.encode(priors.to(dtype).float(), landmarks.to(dtype).float())
    assert torch.equal(deltas, exact)
    assert found.tolist() == [[[1025.0, 525.0]]]


def test_double_passes_through():
    coder = LandmarkCoder()
    assert coder.encode(PRIORS.double(), torch.ones(2, 5, 2).double()).dtype == torch.float64
    assert coder.decode(PRIORS, torch.ones(2, 10).double()).dtype == torch.float64


def test_gradients():
    coder, priors = LandmarkCoder(), PRIORS.double().requires_grad_()
    landmarks = (torch.rand(2, 3, 2, dtype=torch.float64) * 40).requires_grad_()
    deltas = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(coder.encode, (priors, landmarks))
    assert torch.autograd.gradcheck(coder.decode, (priors, deltas))


def test_boxes_of_a_type():
    coder, landmarks = LandmarkCoder(), torch.rand(2, 5, 2)
    deltas = coder.encode(HorizontalBoxes(PRIORS), landmarks)
    assert torch.equal(deltas, coder.encode(PRIORS, landmarks))
    assert torch.equal(coder.decode(HorizontalBoxes(PRIORS), deltas), coder.decode(PRIORS, deltas))


@pytest.mark.parametrize(
    ('priors', 'landmarks'),
    [((2, 4), (3, 5, 2)), ((2, 5), (2, 5, 2)), ((4,), (2, 5, 2)), ((2, 4), (2, 5, 3)), ((2, 4), (2, 10))],
)
def test_shapes_of_encode(priors, landmarks):
    text = re.escape(f'LandmarkCoder: priors {priors} and landmarks {landmarks}, must be (n, 4) and (n, K, 2)')
    with pytest.raises(ValueError, match=text):
        LandmarkCoder().encode(torch.zeros(priors), torch.zeros(landmarks))


@pytest.mark.parametrize(
    ('priors', 'deltas'),
    [
        ((2, 4), (3, 10)),
        ((2, 5), (2, 10)),
        ((2, 4), (2, 9)),
        ((2, 4), (10,)),
        ((3, 2, 4), (2, 10)),
        ((2, 4), ()),
        ((), (2, 10)),
    ],
)
def test_shapes_of_decode(priors, deltas):
    text = re.escape(f'LandmarkCoder: priors {priors} and deltas {deltas}, must be (n, 4) and (..., n, 2K)')
    with pytest.raises(ValueError, match=text):
        LandmarkCoder().decode(torch.zeros(priors), torch.zeros(deltas))
