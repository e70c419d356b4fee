"""Relation Networks' module against a reference written from the paper's equations."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.models.relations import GeometryAttentionRelation, attention_chunks, geometry
from mmdet_ext.models.relations.geometry import box_geometry, sine_embedding

from ..relation_case import WIDTH, build, make_context
from .test_keys import slow_keys


def slow_attention(relation, ctx, key_num, projected_last=False):
    """Equations 2 to 6 of arXiv:1711.11575, one image, one head and one RoI after the other."""
    heads, out = relation.heads, torch.zeros(len(ctx.rois), relation.out_channels, dtype=ctx.feats.dtype)
    for image, keys in enumerate(slow_keys(ctx, relation.keys, key_num)):
        for n in [row for row in range(len(ctx.rois)) if ctx.rois[row, 0] == image]:
            for head in range(heads):
                rows = [layer.weight.chunk(heads)[head] for layer in (relation.query, relation.key)]
                biases = [layer.bias.chunk(heads)[head] for layer in (relation.query, relation.key)]
                query = rows[0] @ ctx.feats[n] + biases[0]
                weights = []
                for m in keys:
                    pair = box_geometry(ctx.rois[n : n + 1, 1:], ctx.rois[m : m + 1, 1:], relation.geom)[0, 0]
                    embedding = sine_embedding(pair, relation.geometry.in_features, relation.wave_len)
                    spatial = relation.geometry.weight[head] @ embedding + relation.geometry.bias[head]
                    appearance = query @ (rows[1] @ ctx.feats[m] + biases[1]) / math.sqrt(len(query))
                    weights.append(spatial.clamp(min=1e-6) * appearance.exp())
                part = slice(head * relation.out_channels // heads, (head + 1) * relation.out_channels // heads)
                total = sum(weights)
                if isinstance(relation.value, torch.nn.Identity):
                    values = [ctx.feats[m][part] for m in keys]
                    mean = sum(w / total * v for w, v in zip(weights, values, strict=True))
                elif projected_last:
                    # The published form: raw features are averaged, a grouped 1x1 convolution projects each head.
                    mean = sum(w / total * ctx.feats[m] for w, m in zip(weights, keys, strict=True))
                    mean = relation.value.weight[part] @ mean + relation.value.bias[part]
                else:
                    values = [(relation.value.weight @ ctx.feats[m] + relation.value.bias)[part] for m in keys]
                    mean = sum(w / total * v for w, v in zip(weights, values, strict=True))
                if keys:
                    out[n, part] = mean
    return out


@pytest.mark.parametrize(
    ('name', 'key_num'),
    [('geometry', None), ('geometry_nongt', None), ('geometry_topk', 3), ('geometry_fg', None), ('geometry_fg_num', 2)],
)
def test_equals_the_equations(name, key_num):
    relation, ctx = build(name, torch.float64), make_context((5, 0, 3), torch.float64)
    assert_close(relation(ctx).feats, slow_attention(relation, ctx, key_num))


def test_the_grouped_convolution_of_the_paper_is_the_same_function():
    relation, ctx = build('geometry', torch.float64), make_context((4, 3), torch.float64)
    assert_close(relation(ctx).feats, slow_attention(relation, ctx, None, projected_last=True))


def test_geometry_decides():
    relation, ctx = build('geometry', torch.float64), make_context((5,), torch.float64)
    torch.nn.init.zeros_(relation.geometry.weight)
    without = relation(ctx).feats
    assert not torch.allclose(build('geometry', torch.float64)(ctx).feats, without)
    # A constant geometry weight cancels in the softmax.
    torch.nn.init.constant_(relation.geometry.bias, 3.0)
    assert_close(relation(ctx).feats, without)


@pytest.mark.parametrize('name', ['geometry_nongt', 'geometry_topk', 'geometry_fg'])
def test_an_image_without_any_key_gets_zeros(name):
    relation, ctx = build(name).train(), make_context((3, 4))
    ctx.key_valid[:3], ctx.key_valid[3:] = False, True
    ctx.cls_logits[3:, 0] = 9
    out = relation(replace(ctx, want_maps=True))
    assert not out.feats[:3].any()
    assert out.feats[3:].any(1).all()
    attention = out.maps['attention']
    assert not attention[0].any()
    assert_close(attention[1].sum(-1), torch.ones(attention.shape[1:3]))
    out.feats.sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in relation.parameters())


def test_nongt_without_flags_takes_all():
    relation, ctx = build('geometry_nongt', torch.float64), make_context(dtype=torch.float64)
    flagged = relation(ctx).feats
    free = relation(replace(ctx, key_valid=None)).feats
    assert not torch.allclose(flagged, free)
    assert_close(free, relation(replace(ctx, key_valid=torch.ones_like(ctx.key_valid))).feats)


def test_more_keys_asked_for_than_there_are():
    relation = build('geometry_topk', torch.float64, key_num=1000)
    ctx = make_context((3, 1), torch.float64)
    plain = build('geometry', torch.float64)
    plain.load_state_dict(relation.state_dict())
    ctx = replace(ctx, key_valid=None)
    assert_close(relation(ctx).feats, plain(ctx).feats)


def test_maps_name_the_keys():
    relation, ctx = build('geometry_topk', torch.float64), make_context((5, 4), torch.float64, want_maps=True)
    ctx = replace(ctx, key_valid=None)
    out = relation(ctx)
    attention, index = out.maps['attention'], out.maps['key_index']
    assert attention.shape == (2, 4, 5, 3)
    assert [(row + start).tolist() for row, start in zip(index, (0, 5), strict=True)] == slow_keys(ctx, 'topk', 3)
    # The maps are what the kernel used.
    value = relation.value(ctx.feats)[index[0]].unflatten(1, (4, -1))
    assert_close(torch.einsum('hnm,mhd->nhd', attention[0], value).flatten(1), out.feats[:5])


def test_geometry_is_float32_under_autocast(monkeypatch):
    types = []
    embed, shift = geometry.sine_embedding, attention_chunks.log_shift
    monkeypatch.setattr(geometry, 'sine_embedding', lambda *args: types.append(args[0].dtype) or embed(*args))
    monkeypatch.setattr(attention_chunks, 'log_shift', lambda *args: types.append(args[0].dtype) or shift(*args))
    relation, ctx = build('geometry'), make_context()
    with torch.autocast('cpu', torch.bfloat16):
        bias = relation.attention_bias(ctx.rois[None, :, 1:].bfloat16(), ctx.rois[None, :, 1:].bfloat16())
        relation(ctx)
    assert bias.dtype == torch.float32
    assert types == [torch.float32] * 4


def test_bias_of_half_weights_is_float32():
    relation, ctx = build('geometry').half(), make_context()
    assert relation.attention_bias(ctx.rois[None, :, 1:], ctx.rois[None, :, 1:]).dtype == torch.float32


def test_weights_below_the_floor():
    relation, ctx = build('geometry', torch.float64), make_context(dtype=torch.float64)
    torch.nn.init.constant_(relation.geometry.bias, -99)
    bias = relation.attention_bias(ctx.rois[None, :, 1:], ctx.rois[None, :, 1:])
    assert_close(bias, torch.full_like(bias, math.log(1e-6)))


def test_nothing_of_the_size_of_the_embedding_is_kept():
    relation, ctx = build('geometry', geom_dim=64).train(), make_context((48,))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        relation(ctx).feats.sum()
    # Nor of the size of the attention: the largest are the factors of the geometry, one row per RoI and head.
    assert max(saved) == 48 * relation.heads * 33


@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(geom='polar'), r"geom='polar', allowed are \('hu', 'log1p'\)"),
        (dict(keys='none'), "keys='none', allowed are"),
        (dict(value='grouped'), "value='grouped', allowed are"),
        (dict(heads=3), 'out_channels=16 is not a multiple of heads=3'),
        (dict(geom_dim=12), 'geom_dim=12 is not a multiple of 8'),
        (dict(geom_dim=0), 'geom_dim=0 is not a multiple of 8'),
        (dict(keys='topk'), "keys='topk' needs key_num"),
        (dict(keys='topk', key_num=0), 'key_num must be a positive int, got 0'),
        (dict(keys='fg', key_num=-1), 'key_num must be a positive int, got -1'),
        (dict(keys='all', key_num=3), "key_num=3 is for keys='topk' and keys='fg', got keys='all'; leave key_num out"),
        (dict(keys='nongt', key_num=3), "key_num=3 is for .* got keys='nongt'"),
        (dict(heads=0), 'heads must be a positive int, got 0'),
        (dict(heads=-4), 'heads must be a positive int, got -4'),
        (dict(heads=4.0), 'heads must be a positive int, got 4.0'),
        (dict(key_dim=0), 'key_dim must be a positive int, got 0'),
        (dict(wave_len=0), 'wave_len must be a positive number, got 0'),
        (dict(wave_len=-1.0), 'wave_len must be a positive number, got -1.0'),
        (dict(value='identity', out_channels=32), 'out_channels=32 must equal in_channels=16'),
    ],
)
def test_options_that_do_not_fit(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        GeometryAttentionRelation(**{'in_channels': WIDTH, 'heads': 4, **options})


def test_weights_start_as_configured():
    relation = GeometryAttentionRelation(WIDTH, heads=4, init_cfg=dict(type='Constant', val=0.25, layer='Linear'))
    relation.init_weights()
    assert (relation.key.weight == 0.25).all()
