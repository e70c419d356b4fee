"""From channels to boxes and to objectness."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.task_modules.coders import YOLOBBoxCoder
from torch.testing import assert_close

from mmdet_ext.models.dense_heads.yolo_maps import (
    CLASSES,
    CONF,
    MAX_LOG_SCALE,
    WH,
    XY,
    balance_levels,
    check_grid,
    decode_boxes,
    objectness,
)

CODER = YOLOBBoxCoder()
PRIORS = torch.tensor([[0.0, 0, 16, 16], [12, 4, 36, 28]])
STRIDES = torch.tensor([16.0, 8])


def test_channels_are_all_there_once():
    channels = torch.arange(5 + 7)
    assert torch.cat([channels[XY], channels[WH], channels[CONF : CONF + 1], channels[CLASSES]]).tolist() == [
        *range(12)
    ]


def test_by_hand():
    preds = torch.zeros(2, 8)
    preds[1, :4] = torch.tensor([0.75, 0.25, 0, 0]).logit()
    preds[1, 2:4] = torch.tensor([math.log(0.5), math.log(2)])
    # The second prior has its centre at (24, 16) and sides of 24.
    assert_close(decode_boxes(CODER, preds, PRIORS, STRIDES), torch.tensor([[0.0, 0, 16, 16], [20, -10, 32, 38]]))
    wide = decode_boxes(CODER, preds, PRIORS, STRIDES, 2.0)
    assert_close(wide[1], torch.tensor([22.0, -12, 34, 36]))


@settings(deadline=None, max_examples=30)
@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(-3, 3), st.floats(-3, 3))
def test_decodes_what_the_coder_encoded(x, y, w, h):
    deltas = torch.tensor([[x, y, w, h]] * 2, dtype=torch.float64)
    boxes = CODER.decode(PRIORS.double(), deltas, STRIDES[:, None].double())
    encoded = CODER.encode(PRIORS.double(), boxes, STRIDES.double())
    preds = torch.cat([encoded[:, :2].logit(), encoded[:, 2:]], dim=1)
    assert_close(decode_boxes(CODER, preds, PRIORS.double(), STRIDES.double()), boxes)


def test_sides_are_bounded():
    preds = torch.full((2, 5), 1000.0, requires_grad=True)
    boxes = decode_boxes(CODER, preds, PRIORS, STRIDES)
    assert_close(boxes[:, 2] - boxes[:, 0], torch.tensor([16.0, 24]) * 1000 / 16)
    assert math.exp(MAX_LOG_SCALE) == pytest.approx(62.5)
    boxes.sum().backward()
    assert preds.grad.isfinite().all()


def test_gradcheck():
    preds = torch.randn(3, 2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: decode_boxes(CODER, x, PRIORS.double(), STRIDES.double(), 1.2), preds)


class TestObjectness:
    BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    GTS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60], [3, 3, 3, 3]])

    def test_iou(self):
        target, iou = objectness(self.BOXES, self.GTS, 'iou')
        assert_close(target, torch.tensor([1.0, 0.5, 0, 0]))
        assert torch.equal(iou, target)

    def test_one(self):
        target, iou = objectness(self.BOXES, self.GTS, 'one')
        assert target.tolist() == [1] * 4
        assert_close(iou, torch.tensor([1.0, 0.5, 0, 0]))

    def test_ciou(self):
        target, _ = objectness(self.BOXES, self.GTS, 'ciou')
        v = 4 / math.pi**2 * (math.atan(2) - math.atan(1)) ** 2
        expected = 0.5 - 2.5**2 / 200 - v / (0.5 + v) * v
        assert_close(target, torch.tensor([1.0, expected, 0, 0]))

    @pytest.mark.parametrize('kind', ['iou', 'ciou', 'one'])
    def test_no_boxes_and_no_gradient(self, kind):
        target, iou = objectness(self.BOXES[:0], self.GTS[:0], kind)
        assert target.shape == iou.shape == (0,)
        target, _ = objectness(self.BOXES.clone().requires_grad_(), self.GTS, kind)
        assert not target.requires_grad


def test_balance_levels():
    loss, weights = torch.rand(2, 5), torch.tensor([[1.0, 0, 1, 1, 0], [1, 1, 1, 0, 0]])
    counts = [(weights[:, :2] > 0).sum().float(), (weights[:, 2:] > 0).sum().float()]
    found, total = balance_levels(weights, [2, 3], counts, (4.0, 0.5))
    means = [(loss[:, own] * weights[:, own]).sum() / 3 for own in (slice(0, 2), slice(2, 5))]
    assert_close((loss * found).sum() / total, 4 * means[0] + 0.5 * means[1])
    assert total == 6


class TestCheckGrid:
    SIZES = [torch.Size((4, 6)), torch.Size((2, 3))]

    def test_it_fits(self):
        for shape in ((64, 96), (50, 90)):
            check_grid(self.SIZES, (16, 32), [dict(batch_input_shape=shape)], 'Head')
        check_grid(self.SIZES, (8, 32), [{}], 'Head')

    @pytest.mark.parametrize(('shape', 'strides'), [((65, 96), (16, 32)), ((64, 96), (32, 16)), ((128, 192), (16, 32))])
    def test_it_does_not(self, shape, strides):
        with pytest.raises(ValueError, match=r'^Head: a map of \(., .\) cells with stride'):
            check_grid(self.SIZES, strides, [{}, dict(batch_input_shape=shape)], 'Head')
