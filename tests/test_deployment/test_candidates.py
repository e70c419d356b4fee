import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.layers import multiclass_nms
from mmdet.models.utils import filter_scores_and_topk

from mmdet_ext.deployment.candidates import (
    ABSENT,
    Candidates,
    best_classes,
    check_nms,
    clip_boxes,
    concatenate,
    highest,
    suppress,
    take_rows,
)

NMS = dict(type='nms', iou_threshold=0.4)


def scene(batch: int, number: int, classes: int, seed: int = 0) -> Candidates:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(batch, number, 2, generator=generator) * 50
    boxes = torch.cat([corner, corner + torch.rand(batch, number, 2, generator=generator) * 25], dim=-1)
    scores = torch.rand(batch, number, generator=generator)
    labels = torch.randint(0, classes, (batch, number), generator=generator)
    return Candidates(boxes, scores, labels, {'place': torch.arange(number).expand(batch, -1)})


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 4), st.floats(0, 1), st.integers(1, 40))
def test_best_classes_as_mmdet_picks_them(seed: int, rows: int, classes: int, threshold: float, number: int) -> None:
    scores = torch.rand(2, rows, classes, generator=torch.Generator().manual_seed(seed))
    best, labels, places = best_classes(scores, number, threshold)
    for image in range(2):
        expected, own_labels, own_rows, _ = filter_scores_and_topk(scores[image], threshold, number)
        there = best[image] > ABSENT
        assert torch.equal(best[image][there], expected)
        assert torch.equal(labels[image][there], own_labels)
        assert torch.equal(places[image][there], own_rows)


def test_without_a_threshold_every_score_counts() -> None:
    best, _, _ = best_classes(torch.zeros(1, 3, 2), 4)
    assert best.tolist() == [[0.0] * 4]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 40), st.booleans(), st.integers(1, 20))
def test_suppress_as_mmdet_does(seed: int, number: int, agnostic: bool, most: int) -> None:
    found = scene(2, number, 3, seed)
    found = found.keep(found.scores > 0.3)
    cfg = {**NMS, 'class_agnostic': agnostic}
    kept = suppress(found, cfg, most)
    for image in range(2):
        table = torch.zeros(number, 4).scatter(1, found.labels[image, :, None], found.scores[image, :, None])
        dets, labels = multiclass_nms(found.boxes[image], table, 0.3, cfg, most)
        there = kept.scores[image] > ABSENT
        torch.testing.assert_close(kept.scores[image][there], dets[:, 4], rtol=0, atol=0)
        torch.testing.assert_close(kept.boxes[image][there], dets[:, :4], rtol=0, atol=0)
        assert torch.equal(kept.labels[image][there], labels)


def test_extras_go_with_their_boxes() -> None:
    found = scene(1, 20, 2)
    kept = suppress(found, NMS, 5)
    assert torch.equal(found.boxes[0, kept.extras['place'][0]], kept.boxes[0])


def test_all_are_kept_without_a_limit() -> None:
    found = scene(1, 20, 2)
    most = suppress(found, NMS, -1)
    assert most.scores.shape == (1, 20)
    limited = suppress(found, {**NMS, 'max_num': 3}, -1)
    assert torch.equal(limited.scores, most.scores[:, :3])


def test_small_boxes_go() -> None:
    boxes = torch.tensor([[[0, 0, 9, 9], [20, 20, 20, 29], [40, 40, 43, 49.0]]])
    found = Candidates(boxes, torch.tensor([[0.5, 0.9, 0.8]]), torch.zeros(1, 3, dtype=torch.long))
    assert suppress(found, NMS, 3, 0).scores[0].tolist() == pytest.approx([0.8, 0.5, ABSENT])
    assert (suppress(found, NMS, 3, 0).scores > ABSENT).sum() == 2
    assert (suppress(found, NMS, 3, 3).scores > ABSENT).sum() == 1
    assert (suppress(found, NMS, 3).scores > ABSENT).sum() == 3


def test_nothing_at_all() -> None:
    found = scene(2, 6, 2)
    none = suppress(found.keep(torch.zeros(2, 6, dtype=torch.bool)), NMS, 4)
    assert none.scores.tolist() == [[ABSENT] * 4] * 2


def test_highest_of_fewer() -> None:
    best, index = highest(torch.tensor([[0.1, 0.3]]), 5)
    assert index.tolist() == [[1, 0]]
    assert best.shape == (1, 2)


def test_take_rows_of_any_rank() -> None:
    rows = torch.arange(24).view(2, 3, 2, 2)
    index = torch.tensor([[2, 0], [1, 1]])
    assert torch.equal(take_rows(rows, index), torch.stack([rows[0, [2, 0]], rows[1, [1, 1]]]))


def test_concatenate_keeps_the_order() -> None:
    one, two = scene(2, 3, 2), scene(2, 4, 2, seed=1)
    both = concatenate([one, two])
    assert torch.equal(both.boxes[:, 3:], two.boxes)
    assert both.extras['place'][0].tolist() == [0, 1, 2, 0, 1, 2, 3]
    assert concatenate([one]) is one


def test_clip() -> None:
    boxes = clip_boxes(torch.tensor([[-3.0, -4, 70, 80], [200, 5, 300, 9]]), 50, 60)
    assert boxes.tolist() == [[0, 0, 60, 50], [60, 5, 60, 9]]


@pytest.mark.parametrize(
    'cfg',
    [None, dict(iou_thr=0.5), dict(type='soft_nms', iou_threshold=0.5), dict(type='nms', iou_threshold=0.5, offset=1)],
)
def test_other_nms_is_refused(cfg: dict | None) -> None:
    with pytest.raises(ValueError, match=r'head: nms=.* cannot be exported, ONNX has greedy NMS only'):
        check_nms(cfg, 'head')


def test_plain_nms_passes() -> None:
    check_nms(dict(type='nms', iou_threshold=0.5, class_agnostic=True, split_thr=9, max_num=3, offset=0), 'head')
