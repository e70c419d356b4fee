"""Attention with geometry against the form of the textbook, which keeps the embedding of every pair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import attention_chunks
from mmdet_ext.models.relations.fused_attention import geometry_attention
from mmdet_ext.models.relations.geometry import box_geometry, sine_embedding

from ..relation_case import random_boxes

HEADS, DIM = 2, 16
NAMES = ('query', 'key', 'value', 'weight', 'bias')


def make_inputs(queries=7, keys=5, images=1, dtype=torch.float64, width=3):
    """Queries, keys, values, boxes, weights: about every third geometry weight is below its floor."""
    x = {name: torch.randn(images, HEADS, n, width) for name, n in zip(NAMES, (queries, keys, keys), strict=False)}
    for name, number in (('query_boxes', queries), ('key_boxes', keys)):
        x[name] = torch.stack([random_boxes(number, (80, 100)) for _ in range(images)])
    x |= dict(weight=torch.randn(HEADS, DIM), bias=torch.randn(HEADS) + 1)
    return {name: value.to(dtype).requires_grad_('boxes' not in name) for name, value in x.items()}


def textbook(
    query, key, value, query_boxes, key_boxes, weight, bias, counts, key_counts, key_mask=None, kind='hu', wave_len=1000
):
    """The equations, image by image, everything kept."""
    nothing = sum(x.sum() for x in (query, key, value, weight, bias)) * 0
    out = torch.zeros(*query.shape[:3], value.shape[3], dtype=query.dtype) + nothing
    for image, (n, m) in enumerate(zip(counts, key_counts, strict=True)):
        rows = torch.arange(m) if key_mask is None else torch.arange(m)[key_mask[image, :m]]
        if not n or not len(rows):
            continue
        embedding = sine_embedding(box_geometry(query_boxes[image, :n], key_boxes[image, rows], kind), DIM, wave_len)
        geometry = torch.nn.functional.linear(embedding, weight, bias).clamp(min=1e-6).log().permute(2, 0, 1)
        q, k, v = query[image, :, :n], key[image][:, rows], value[image][:, rows]
        logits = q @ k.transpose(1, 2) / query.shape[-1] ** 0.5 + geometry
        out = out.clone()
        out[image, :, :n] = logits.softmax(-1) @ v
    return out


def compare(inputs, rtol=None, atol=None, **options):
    """Results and gradients are those of the textbook."""
    learnt = [inputs[name] for name in NAMES]
    ours, plain = geometry_attention(**inputs, **options), textbook(**inputs, **options)
    assert_close(ours, plain, rtol=rtol, atol=atol)
    upstream = torch.randn_like(plain)
    grads = [torch.autograd.grad(out, learnt, upstream) for out in (ours, plain)]
    assert_close(*(dict(zip(NAMES, values, strict=True)) for values in grads), rtol=rtol, atol=atol)


def test_closed_form():
    """Two keys; the geometry weight is `1 + cos(0.237 * log(w_q / w_k))` to the first and the second head."""
    boxes = torch.tensor([[[0.0, 0, 8, 8], [0, 0, 32, 8]]], dtype=torch.float64)
    weight = torch.zeros(1, 8, dtype=torch.float64)
    weight[0, 5] = 1  # cosine of the width, dim 8: one wave of 100 rad
    query = torch.zeros(1, 1, 2, 1, dtype=torch.float64)
    value = torch.tensor([[[[0.0], [1.0]]]], dtype=torch.float64)
    out = geometry_attention(query, query, value, boxes, boxes, weight, weight.new_ones(1), (2,), (2,))
    other = 1 + torch.cos(100 * torch.tensor(4.0, dtype=torch.float64).log())
    assert_close(out.flatten(), torch.stack([other, out.new_tensor(2.0)]) / (2 + other))


@pytest.mark.parametrize('kind', ['hu', 'log1p'])
@pytest.mark.parametrize('wave_len', [1000.0, 20.0])
def test_equals_the_textbook(kind, wave_len):
    compare(make_inputs(), counts=(7,), key_counts=(5,), kind=kind, wave_len=wave_len)


@pytest.mark.parametrize(
    ('chunk', 'embedding'), [(1, 1), (HEADS * 5 * 3, 1), (HEADS * 5 * 4, 2 * DIM // 2 * 5), (99, 9999)]
)
def test_chunks_change_nothing(chunk, embedding, monkeypatch):
    monkeypatch.setitem(attention_chunks.CHUNK, 'cpu', chunk)
    monkeypatch.setitem(attention_chunks.EMBEDDING, 'cpu', embedding)
    compare(make_inputs(images=2), counts=(7, 2), key_counts=(5, 4))


@given(
    data=st.data(), images=st.integers(0, 3), queries=st.integers(0, 6), keys=st.integers(1, 5), masked=st.booleans()
)
@settings(max_examples=40, deadline=None)
def test_any_numbers_and_any_mask(data, images, queries, keys, masked):
    def draw(high):
        return tuple(data.draw(st.integers(1 if high == keys else 0, high)) for _ in range(images))

    mask = torch.tensor([[data.draw(st.booleans()) for _ in range(keys)] for _ in range(images)]).view(images, keys)
    options = dict(counts=draw(queries), key_counts=draw(keys), key_mask=mask.bool() if masked else None)
    inputs = make_inputs(queries, keys, max(images, 1))
    inputs = {
        name: value.detach()[:images].requires_grad_(value.requires_grad) if value.dim() > 2 else value
        for name, value in inputs.items()
    }
    compare(inputs, **options)


def test_float32_is_precise():
    compare(make_inputs(60, 50, dtype=torch.float32, width=8), counts=(60,), key_counts=(50,), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('shift', [60.0, -60.0])
def test_large_logits(shift):
    """Logits of +-3600 neither overflow nor vanish."""
    inputs = make_inputs()
    with torch.no_grad():
        inputs['query'][..., 0], inputs['key'][..., 0] = 60.0, shift
        inputs['query'][:, :, 0, 0] = 500
    compare(inputs, counts=(7,), key_counts=(5,))


def test_gradcheck():
    inputs = make_inputs(3, 2)
    boxes = {name: value for name, value in inputs.items() if 'boxes' in name}

    def run(*learnt):
        return geometry_attention(**boxes, **dict(zip(NAMES, learnt, strict=True)), counts=(3,), key_counts=(2,))

    assert torch.autograd.gradcheck(run, [inputs[name] for name in NAMES])


def test_boxes_get_no_gradient():
    inputs = make_inputs()
    inputs['query_boxes'].requires_grad_()
    geometry_attention(**inputs, counts=(7,), key_counts=(5,)).sum().backward()
    assert inputs['query_boxes'].grad is None
    assert inputs['weight'].grad is not None


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    inputs = {name: value.detach().to(dtype) for name, value in make_inputs().items()}
    wide = {name: value.float() for name, value in inputs.items()}
    out = geometry_attention(**inputs, counts=(7,), key_counts=(5,))
    assert out.dtype == dtype
    assert_close(out, geometry_attention(**wide, counts=(7,), key_counts=(5,)).to(dtype), rtol=0, atol=0)


def test_padding_is_not_computed(monkeypatch):
    pairs = []
    embed = attention_chunks.ImagePairs.embed
    monkeypatch.setattr(attention_chunks.ImagePairs, 'embed', lambda *args: pairs.append(embed(*args)) or pairs[-1])
    geometry_attention(**make_inputs(9, 9, images=3), counts=(9, 2, 0), key_counts=(9, 2, 0))
    assert sum(x.shape[1] for x in pairs) == 9 * 9 + 2 * 2


def test_broken_boxes_stay_finite():
    inputs = make_inputs()
    with torch.no_grad():
        inputs['query_boxes'][0, 1], inputs['key_boxes'][0, 2] = float('nan'), float('inf')
        inputs['query_boxes'][0, 2, 2:] = inputs['query_boxes'][0, 2, :2] - 5
    compare(inputs, counts=(7,), key_counts=(5,))
