"""Rows that come with their padding, as exporters want them: every relation gives the same as without."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from mmdet_ext.models.relations import RelationContext
from mmdet_ext.models.relations.base import Packing

from ..relation_case import RELATIONS, build, make_context

COUNTS, ROWS = (5, 0, 3), 7


def padded(ctx: RelationContext) -> RelationContext:
    """Seven rows of every image; what fills them up is not a number."""
    mask = torch.arange(ROWS) < torch.tensor(COUNTS)[:, None]

    def fill(x: Tensor) -> Tensor:
        rows = torch.full((mask.numel(), *x.shape[1:]), float('nan'), dtype=x.dtype)
        rows[mask.flatten()] = x
        return rows

    rois = fill(ctx.rois)
    rois[:, 0] = torch.arange(len(COUNTS)).repeat_interleave(ROWS)
    assert ctx.cls_logits is not None
    key_valid = torch.zeros(mask.numel(), dtype=torch.bool)
    if ctx.key_valid is not None:
        key_valid[mask.flatten()] = ctx.key_valid
    return replace(
        ctx,
        feats=fill(ctx.feats),
        rois=rois,
        cls_logits=fill(ctx.cls_logits),
        key_valid=None if ctx.key_valid is None else key_valid,
        counts=None,
        row_mask=mask,
    )


@pytest.mark.parametrize('name', RELATIONS)
def test_the_same_features(name: str) -> None:
    relation, ctx = build(name, torch.float64), make_context(COUNTS, torch.float64)
    full = padded(ctx)
    assert full.row_mask is not None
    with torch.no_grad():
        found = relation(full).feats[full.row_mask.flatten()]
        assert_close(found, relation(ctx).feats, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize('name', ['geometry', 'geometry_topk', 'spatial_norm', 'count_few', 'part_context_cells'])
def test_the_same_gradients(name: str) -> None:
    """The plain path of the attention learns, too; zeros stand in for the padding that no gradient may pass."""
    relation, ctx = build(name, torch.float64), make_context(COUNTS, torch.float64)
    grads = []
    for own in (ctx, padded(ctx)):
        relation.zero_grad()
        own = replace(own, feats=own.feats.nan_to_num(), cls_logits=own.cls_logits.nan_to_num())
        feats = relation(own).feats
        if own.row_mask is not None:
            feats = feats[own.row_mask.flatten()]
        feats.square().sum().backward()
        grads.append({name: parameter.grad.clone() for name, parameter in relation.named_parameters()})
    for name_, grad in grads[0].items():
        assert_close(grads[1][name_], grad, rtol=1e-7, atol=1e-7)


def test_attention_for_plots() -> None:
    relation, ctx = build('geometry', torch.float64), make_context(COUNTS, torch.float64)
    with torch.no_grad():
        flat = relation(replace(ctx, want_maps=True)).maps['attention']
        full = relation(replace(padded(ctx), want_maps=True)).maps['attention']
    assert full.shape == (3, 4, ROWS, ROWS)
    assert_close(full[0, :, :5, :5], flat[0, :, :5, :5])
    assert_close(full[..., 5:].abs().max(), torch.tensor(0.0, dtype=torch.float64))


def test_packing() -> None:
    ctx = padded(make_context(COUNTS))
    packing = Packing(ctx)
    assert (packing.padded, packing.shape, packing.counts) == (True, (3, ROWS), ())
    rows = packing.pack(ctx.feats)
    assert rows[1].eq(0).all()
    assert_close(packing.unpack(rows), ctx.feats.nan_to_num())
    assert packing.group(ctx.feats) is ctx.feats
    assert packing.ungroup(ctx.feats) is ctx.feats
