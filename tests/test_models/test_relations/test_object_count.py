"""Counts of distinct objects: exact where the answer is known, and blind to duplicates."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import ObjectCountRelation
from mmdet_ext.models.relations.object_count import expected_counts

from ..relation_case import NUM_CLASSES, WIDTH, make_context, pick_rows

numbers = st.lists(st.tuples(st.integers(0, NUM_CLASSES - 1), st.integers(1, 6)), max_size=8)


def scene(objects, order=None, jitter=0.0):
    """Boxes and certain probabilities; object i lies apart from all others and has `m` boxes of its class."""
    boxes, labels = [], []
    for place, (label, copies) in enumerate(objects):
        for _ in range(copies):
            boxes.append(torch.tensor([40.0 * place, 0, 40 * place + 20, 20], dtype=torch.float64))
            labels.append(label)
    boxes = torch.stack(boxes) if boxes else torch.zeros(0, 4, dtype=torch.float64)
    boxes = boxes + jitter * torch.rand_like(boxes)
    probs = torch.nn.functional.one_hot(torch.tensor(labels, dtype=torch.long), NUM_CLASSES + 1).double()
    if order is not None:
        boxes, probs = boxes[order], probs[order]
    return boxes[None], probs[None], torch.ones(1, len(boxes), dtype=torch.bool)


@given(numbers, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_every_object_counts_once_however_many_boxes_it_has(objects, random):
    order = list(range(sum(copies for _, copies in objects)))
    random.shuffle(order)
    expected = torch.tensor([[sum(label == c for label, _ in objects) for c in range(NUM_CLASSES)]])
    # A shift of up to 2 of 20 pixels leaves an overlap above 0.5.
    counts = expected_counts(*scene(objects, order, jitter=2.0))
    assert_close(counts, expected.double())


def test_more_boxes_than_objects_is_not_more_objects():
    few, many = (expected_counts(*scene([(0, m), (0, 1), (2, m)]))[0].tolist() for m in (1, 50))
    assert few == pytest.approx([2, 0, 1])
    assert many == pytest.approx(few)


def test_background_counts_nothing():
    boxes, probs, mask = scene([(0, 1), (1, 1), (NUM_CLASSES, 3), (NUM_CLASSES, 1)])
    assert_close(expected_counts(boxes, probs, mask), torch.tensor([[1.0, 1, 0]], dtype=torch.float64))


def test_background_on_an_object_takes_nothing_from_it():
    boxes, probs, mask = scene([(0, 1)])
    none = torch.tensor([[[0.0, 0, 0, 1]]], dtype=torch.float64)
    counts = expected_counts(boxes.repeat(1, 5, 1), torch.cat([probs] + [none] * 4, 1), mask.repeat(1, 5))
    assert_close(counts, torch.tensor([[1.0, 0, 0]], dtype=torch.float64))


def test_uncertain_boxes_count_by_their_probability():
    boxes, _, mask = scene([(0, 1), (1, 1)])
    probs = torch.tensor([[[0.5, 0.2, 0.1, 0.2], [0.25, 0.25, 0, 0.5]]], dtype=torch.float64)
    assert_close(expected_counts(boxes, probs, mask), torch.tensor([[0.75, 0.45, 0.1]], dtype=torch.float64))


def test_the_confident_box_speaks_loudest():
    boxes, _, mask = scene([(0, 2)])
    probs = torch.tensor([[[0.9, 0, 0, 0.1], [0, 0.3, 0, 0.7]]], dtype=torch.float64)
    share = 0.9**2 / (0.9**2 + 0.3**2)
    expected = torch.tensor([[0.9 * share, 0.3 * (1 - share), 0]], dtype=torch.float64)
    assert_close(expected_counts(boxes, probs, mask), expected)
    sharper = expected_counts(boxes, probs, mask, sharpness=8)
    assert sharper[0, 0] > expected[0, 0]


@pytest.mark.parametrize(('iou', 'objects'), [(0.1, 2.0), (0.2, 2.0), (0.35, 2 / 1.5), (0.5, 1.0), (0.9, 1.0)])
def test_overlap_makes_one_object_of_two(iou, objects):
    # Two boxes of width 1 at distance d overlap by (1 - d) / (1 + d).
    distance = (1 - iou) / (1 + iou)
    boxes = torch.tensor([[[0.0, 0, 1, 1], [distance, 0, 1 + distance, 1]]], dtype=torch.float64)
    probs = torch.tensor([[[1.0, 0, 0, 0]] * 2], dtype=torch.float64)
    counts = expected_counts(boxes, probs, torch.ones(1, 2, dtype=torch.bool))
    assert counts[0, 0].item() == pytest.approx(objects)


def test_padding_counts_nothing():
    boxes, probs, mask = scene([(0, 2), (1, 1)])
    padded = [torch.cat([x, torch.ones_like(x)[:, :2]], dim=1) for x in (boxes, probs)]
    wide = torch.cat([mask, torch.zeros(1, 2, dtype=torch.bool)], dim=1)
    assert_close(expected_counts(*padded, wide), expected_counts(boxes, probs, mask))
    assert not expected_counts(*padded, torch.zeros_like(wide)).any()


def test_gradcheck():
    boxes, _, mask = scene([(0, 2), (1, 1)], jitter=2.0)
    mask[0, 1] = False
    logits = torch.randn(1, 3, NUM_CLASSES + 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: expected_counts(boxes, x.softmax(-1), mask), (logits,))


class TestRelation:
    def test_duplicates_of_every_roi_change_nothing(self):
        relation, ctx = ObjectCountRelation(WIDTH, NUM_CLASSES).double(), make_context((5, 3), torch.float64)
        rows = torch.arange(8).repeat_interleave(4)
        once = relation(replace(ctx, want_maps=True))
        often = relation(replace(pick_rows(ctx, rows), want_maps=True))
        assert_close(often.maps['counts'], once.maps['counts'])
        assert_close(often.feats, once.feats[rows])

    def test_added_ground_truth_does_not_count(self):
        relation, ctx = (
            ObjectCountRelation(WIDTH, NUM_CLASSES).double(),
            make_context((5,), torch.float64, want_maps=True),
        )
        ctx.key_valid[:] = torch.tensor([True, True, False, True, False])
        proposals = pick_rows(ctx, torch.tensor([0, 1, 3]))
        assert_close(relation(ctx).maps['counts'], relation(proposals).maps['counts'])

    def test_only_the_best_boxes_are_looked_at(self):
        relation = ObjectCountRelation(WIDTH, NUM_CLASSES, key_num=2).double()
        ctx = replace(make_context((5,), torch.float64, want_maps=True), key_valid=None)
        best = ctx.cls_logits.softmax(1)[:, -1].argsort()[:2]
        assert_close(relation(ctx).maps['counts'], relation(pick_rows(ctx, best)).maps['counts'])

    def test_all_rois_of_an_image_hear_the_same(self):
        out = ObjectCountRelation(WIDTH, NUM_CLASSES)(make_context((3, 2))).feats
        assert torch.equal(out[:3], out[:1].expand(3, -1))
        assert not torch.allclose(out[0], out[3])

    @pytest.mark.parametrize('detach', [True, False])
    def test_gradient_to_the_scores(self, detach):
        ctx = make_context()
        ctx.cls_logits.requires_grad_()
        ObjectCountRelation(WIDTH, NUM_CLASSES, detach=detach)(ctx).feats.sum().backward()
        assert (ctx.cls_logits.grad is None) == detach

    def test_counts_in_float32_under_autocast(self):
        relation, ctx = ObjectCountRelation(WIDTH, NUM_CLASSES), make_context(want_maps=True)
        with torch.autocast('cpu', torch.bfloat16):
            counts = relation(ctx).maps['counts']
        assert counts.dtype == torch.float32
        assert_close(counts, relation(ctx).maps['counts'])

    def test_other_number_of_classes(self):
        with pytest.raises(ValueError, match='num_classes=7 but the base classifier has 3 classes; set num_classes=3'):
            ObjectCountRelation(WIDTH, 7)(make_context())

    @pytest.mark.parametrize('name', ['num_classes', 'mid_channels', 'key_num'])
    @pytest.mark.parametrize('value', [0, -1, 2.5])
    def test_sizes_are_positive_integers(self, name, value):
        with pytest.raises(ValueError, match=f'ObjectCountRelation: {name} must be a positive int, got {value}'):
            ObjectCountRelation(**{'in_channels': WIDTH, 'num_classes': NUM_CLASSES, name: value})

    @pytest.mark.parametrize('sharpness', [0, -2.0])
    def test_sharpness_is_positive(self, sharpness):
        with pytest.raises(ValueError, match=f'sharpness must be a positive number, got {sharpness}'):
            ObjectCountRelation(WIDTH, NUM_CLASSES, sharpness=sharpness)

    def test_overlaps_of_a_config_may_be_a_list(self):
        assert ObjectCountRelation(WIDTH, NUM_CLASSES, same_iou=[0.1, 0.6]).same_iou == (0.1, 0.6)

    @pytest.mark.parametrize(
        'same_iou', [(0.5, 0.5), (0.5, 0.2), (-0.1, 0.5), (0.2, 1.1), 0.5, (0.5,), (0.1, 0.2, 0.3)]
    )
    def test_two_overlaps_in_order(self, same_iou):
        with pytest.raises(ValueError, match='0 <= low < high <= 1'):
            ObjectCountRelation(WIDTH, NUM_CLASSES, same_iou=same_iou)
