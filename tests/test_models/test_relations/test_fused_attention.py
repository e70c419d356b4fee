"""Attention with geometry against the form of the textbook, which keeps the embedding of every pair."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from mmdet_ext.models.relations import attention_chunks
from mmdet_ext.models.relations.fused_attention import geometry_attention
from mmdet_ext.models.relations.geometry import GEOMETRIES, box_geometry, sine_embedding

from ..relation_case import random_boxes

HEADS, DIM = 2, 16
NAMES = ('query', 'key', 'value', 'weight', 'bias')


def make_inputs(queries=7, keys=5, dtype=torch.float64, width=3):
    """Queries, keys, values, boxes, weights: some geometry weights are below their floor."""
    x = {name: torch.randn(n, HEADS, width) for name, n in zip(NAMES, (queries, keys, keys), strict=False)}
    x |= dict(query_boxes=random_boxes(queries, (80, 100)), key_boxes=random_boxes(keys, (80, 100)))
    x |= dict(weight=torch.randn(HEADS, DIM), bias=torch.randn(HEADS) + 1)
    return {name: value.to(dtype).requires_grad_('boxes' not in name) for name, value in x.items()}


def textbook(
    query, key, value, query_boxes, key_boxes, weight, bias, counts, key_counts, key_mask=None, kind='hu', wave_len=1000
):
    """The equations, image by image, everything kept."""
    # Connected, also without any image.
    out = [query.new_zeros(0, HEADS, value.shape[2]) + 0 * sum(x.sum() for x in (query, key, value, weight, bias))]
    rows, key_rows = (torch.arange(len(x)).split(n) for x, n in ((query, counts), (key, key_counts)))
    for own, others in zip(rows, key_rows, strict=True):
        if key_mask is not None:
            others = others[key_mask[others]]
        embedding = sine_embedding(box_geometry(query_boxes[own], key_boxes[others], kind), DIM, wave_len)
        geometry = torch.nn.functional.linear(embedding, weight, bias).clamp(min=1e-6).log().permute(2, 0, 1)
        q, k, v = query[own].transpose(0, 1), key[others].transpose(0, 1), value[others].transpose(0, 1)
        logits = q @ k.transpose(1, 2) / query.shape[-1] ** 0.5 + geometry
        out.append((logits.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(out)


def compare(inputs, rtol=None, atol=None, **options):
    """Results and gradients are those of the textbook."""
    learnt = [inputs[name] for name in NAMES]
    ours, plain = geometry_attention(**inputs, **options), textbook(**inputs, **options)
    assert_close(ours, plain, rtol=rtol, atol=atol)
    upstream = torch.randn_like(plain)
    grads = [torch.autograd.grad(out, learnt, upstream) for out in (ours, plain)]
    assert_close(*(dict(zip(NAMES, values, strict=True)) for values in grads), rtol=rtol, atol=atol)


def test_closed_form():
    """Two boxes, the geometry weight is `1 + cos(100 log(w_q / w_k))`; the value of the second is one."""
    boxes = torch.tensor([[0.0, 0, 8, 8], [0, 0, 32, 8]], dtype=torch.float64)
    weight = torch.zeros(1, 8, dtype=torch.float64)
    weight[0, 5] = 1
    query = torch.zeros(2, 1, 1, dtype=torch.float64)
    value = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1)
    out = geometry_attention(query, query, value, boxes, boxes, weight, weight.new_ones(1), (2,), (2,))
    other = 1 + torch.cos(100 * torch.tensor(4.0, dtype=torch.float64).log())
    assert_close(out.flatten(), torch.stack([other, out.new_tensor(2.0)]) / (2 + other))


@pytest.mark.parametrize('kind', GEOMETRIES)
@pytest.mark.parametrize('wave_len', [1000.0, 20.0])
def test_equals_the_textbook(kind, wave_len):
    compare(make_inputs(), counts=(7,), key_counts=(5,), kind=kind, wave_len=wave_len)


@pytest.mark.parametrize(
    ('chunk', 'embedding'), [(1, 1), (HEADS * 5 * 3, 1), (HEADS * 5 * 4, DIM // 2 * 5 * 2), (99, 9999)]
)
def test_chunks_change_nothing(chunk, embedding, monkeypatch):
    monkeypatch.setitem(attention_chunks.CHUNK, 'cpu', chunk)
    monkeypatch.setitem(attention_chunks.EMBEDDING, 'cpu', embedding)
    compare(make_inputs(9, 9), counts=(7, 2), key_counts=(5, 4))


@given(data=st.data(), images=st.integers(0, 3), masked=st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_numbers_and_any_mask(data, images, masked):
    counts, key_counts = (tuple(data.draw(st.integers(0, 5)) for _ in range(images)) for _ in range(2))
    number = sum(key_counts)
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=number, max_size=number)), dtype=torch.bool)
    inputs = make_inputs(sum(counts), number)
    compare(inputs, counts=counts, key_counts=key_counts, key_mask=mask if masked else None)


def test_float32_is_precise():
    compare(make_inputs(60, 50, dtype=torch.float32, width=8), counts=(60,), key_counts=(50,), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('side', [60.0, -60.0])
def test_large_logits(side):
    """Logits of +-3600 and more neither overflow nor vanish."""
    inputs = make_inputs()
    with torch.no_grad():
        inputs['query'][..., 0], inputs['key'][..., 0] = 60.0, side
        inputs['query'][0, :, 0] = 500
    compare(inputs, counts=(7,), key_counts=(5,))


def test_gradcheck():
    inputs = make_inputs(3, 2)
    boxes = {name: value for name, value in inputs.items() if 'boxes' in name}

    def run(*learnt):
        return geometry_attention(**boxes, **dict(zip(NAMES, learnt, strict=True)), counts=(3,), key_counts=(2,))

    assert torch.autograd.gradcheck(run, [inputs[name] for name in NAMES])


def test_inputs_stay_as_they_are():
    """One head, one image: every buffer could be a view of its input."""
    inputs = {name: value[:, :1] if value.dim() == 3 else value for name, value in make_inputs().items()}
    inputs |= {name: inputs[name][:1].detach().requires_grad_() for name in ('weight', 'bias')}
    before = {name: value.detach().clone() for name, value in inputs.items()}
    geometry_attention(**inputs, counts=(7,), key_counts=(5,)).sum().backward()
    assert_close(inputs, before, rtol=0, atol=0)


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


def test_only_pairs_of_an_image_are_computed(monkeypatch):
    pairs = []
    embed = attention_chunks.ImagePairs.embed

    def spy(*args):
        pairs.append(embed(*args).shape[1])
        return embed(*args)

    monkeypatch.setattr(attention_chunks.ImagePairs, 'embed', spy)
    geometry_attention(**make_inputs(11, 11), counts=(9, 2, 0), key_counts=(9, 2, 0))
    assert sum(pairs) == 9 * 9 + 2 * 2


def test_broken_boxes_stay_finite():
    inputs = make_inputs()
    with torch.no_grad():
        inputs['query_boxes'][1], inputs['key_boxes'][2] = float('nan'), float('inf')
        inputs['query_boxes'][2, 2:] = inputs['query_boxes'][2, :2] - 5
    compare(inputs, counts=(7,), key_counts=(5,))
    assert torch.isfinite(geometry_attention(**inputs, counts=(7,), key_counts=(5,))).all()


def test_the_operator_is_registered_as_torch_wants_it():
    seen = {}

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace == 'mmdet_ext':
                seen.setdefault(func, args)
            return func(*args, **(kwargs or {}))

    with Record():
        geometry_attention(**make_inputs(), counts=(7,), key_counts=(5,)).sum().backward()
    assert len(seen) == 2
    for operator, args in seen.items():
        args = [x.detach().clone() if isinstance(x, torch.Tensor) else x for x in args]
        torch.library.opcheck(operator, args, test_utils=('test_schema', 'test_faketensor'))
