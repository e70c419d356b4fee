"""Which RoIs serve as keys."""

from dataclasses import replace

import pytest
import torch

from mmdet_ext.models.relations import Packing
from mmdet_ext.models.relations.keys import KEYS, foreground_score, select_keys

from ..relation_case import make_context


def slow_keys(ctx, keys, key_num):
    """Rows of the flat batch per image, in the order in which a relation sees them."""
    chosen = []
    for image in range(len(ctx.img_shapes)):
        rows = [row for row in range(len(ctx.rois)) if ctx.rois[row, 0] == image]
        if keys != 'all' and ctx.key_valid is not None:
            rows = [row for row in rows if ctx.key_valid[row]]
        if keys == 'fg':
            rows = [row for row in rows if ctx.cls_logits[row].argmax() != ctx.cls_logits.shape[1] - 1]
        if key_num is not None:
            rows = sorted(rows, key=lambda row: float(ctx.cls_logits[row].softmax(0)[-1]))[:key_num]
        chosen.append(rows)
    return chosen


@pytest.mark.parametrize('keys', KEYS)
@pytest.mark.parametrize('key_num', [None, 1, 3, 50])
@pytest.mark.parametrize('counts', [(9, 0, 4), (1,), (0,)])
@pytest.mark.parametrize('flags', [True, False])
def test_equals_a_slow_reference(keys, key_num, counts, flags):
    ctx = make_context(counts)
    ctx = replace(ctx, key_valid=ctx.key_valid if flags else None)
    packing = Packing(ctx)
    selected = select_keys(ctx, packing, keys, key_num)
    rows = selected.take(packing.pack(torch.arange(len(ctx.rois))[:, None]))[..., 0]
    assert [row[mask].tolist() for row, mask in zip(rows, selected.mask, strict=True)] == slow_keys(ctx, keys, key_num)


@pytest.mark.parametrize('keys', ['all', 'nongt'])
def test_without_scores_nothing_is_ranked(keys):
    ctx = replace(make_context((2, 3)), cls_logits=None, key_valid=None)
    assert select_keys(ctx, Packing(ctx), keys).mask.sum() == 5


@pytest.mark.parametrize(('keys', 'key_num'), [('topk', None), ('fg', None), ('all', 1), ('nongt', 1)])
def test_ranking_needs_scores(keys, key_num):
    ctx = replace(make_context((2, 3)), cls_logits=None)
    with pytest.raises(ValueError, match=rf"keys='{keys}' with key_num={key_num} .*base_head=True"):
        select_keys(ctx, Packing(ctx), keys, key_num)


def test_foreground_score():
    logits = torch.tensor([[1.0, 1, 1, 1], [0, 0, 0, 50]], dtype=torch.float16)
    score = foreground_score(logits)
    assert score.dtype == torch.float32
    torch.testing.assert_close(score, torch.tensor([0.75, 0.0]))
    assert foreground_score(logits.double()).dtype == torch.float64
