"""What relations share that give the embedded geometry of boxes as it is."""

import math

import pytest
import torch
from torch.testing import assert_close

from mmdet_ext.models.relations import ObjectPairRelation, PartGeometryRelation, box_embedding

from ..relation_case import PART_NAMES, WIDTH, build, make_context

both = pytest.mark.parametrize('name', ['pair', 'part_geometry'])


def slow_embedding(query, key, dim, geom='hu', wave_len=1000.0):
    """Section 3.2 of arXiv:1711.11575 for two boxes, one number after the other."""

    def centre_and_size(box):
        (left, top, right, bottom) = map(float, box)
        return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top

    (qx, qy, qw, qh), (kx, ky, kw, kh) = centre_and_size(query), centre_and_size(key)
    shift_x, shift_y = abs(qx - kx) / qw, abs(qy - ky) / qh
    if geom == 'hu':
        numbers = [math.log(max(shift_x, 1e-3)), math.log(max(shift_y, 1e-3))]
    else:
        numbers = [math.log(1 + shift_x), math.log(1 + shift_y)]
    numbers += [math.log(qw / kw), math.log(qh / kh)]
    values = []
    for number in numbers:
        for function in (math.sin, math.cos):
            values += [function(100 * number / wave_len ** (k / (dim // 8))) for k in range(dim // 8)]
    return torch.tensor(values, dtype=torch.float64)


@both
def test_a_pair_by_hand(name):
    relation, ctx = build(name, torch.float64, geom='log1p'), make_context((1,), torch.float64, key_valid=None)
    # Twice as wide and five quarters as high as the key; the centres are 25 and 5 apart.
    ctx.rois[0, 1:] = torch.tensor([0.0, 0, 20, 10])
    if name == 'part_geometry':
        ctx.parts.boxes[0, 0] = torch.tensor([30.0, 6, 40, 14])
        numbers = [math.log(1 + 25 / 20), math.log(1 + 5 / 10), math.log(2), math.log(1.25)]
    else:
        # Its only key is itself.
        numbers = [0.0] * 4
    expected = [function(100 * number) for number in numbers for function in (math.sin, math.cos)]
    assert_close(relation(ctx).feats[0, :8], torch.tensor(expected, dtype=torch.float64))


@both
def test_geometry_is_float32_under_autocast(name, monkeypatch):
    types = []
    embed = box_embedding.sine_embedding
    monkeypatch.setattr(box_embedding, 'sine_embedding', lambda *args: types.append(args[0].dtype) or embed(*args))
    relation, ctx = build(name), make_context()
    wide = relation(ctx).feats
    ctx.feats = ctx.feats.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        narrow = relation(ctx).feats
    assert types == [torch.float32] * 2
    assert torch.equal(narrow, wide.bfloat16())


@both
def test_float16_features_get_a_float32_geometry(name):
    relation, ctx = build(name), make_context()
    # Far apart in a large image, where float16 knows positions to 1 pixel and the embedding turns 16 times per pixel.
    ctx.rois[:, 1:] *= 20
    ctx.parts.boxes *= 20
    wide = relation(ctx).feats
    ctx.feats = ctx.feats.half()
    assert torch.equal(relation(ctx).feats, wide.half())


@both
def test_the_same_in_an_image_twice_as_large_or_moved(name):
    relation, ctx = build(name, torch.float64), make_context(dtype=torch.float64)
    before = relation(ctx).feats
    ctx.rois[:, 1:] = ctx.rois[:, 1:] * 2 + 64
    ctx.parts.boxes = ctx.parts.boxes * 2 + 64
    assert_close(relation(ctx).feats, before, rtol=0, atol=1e-9)


@both
def test_features_are_not_read(name):
    relation, ctx = build(name), make_context()
    ctx.feats.requires_grad_()
    ctx.rois.requires_grad_()
    out = relation(ctx).feats
    assert not out.requires_grad
    ctx.feats = torch.full_like(ctx.feats, float('nan'))
    assert torch.equal(relation(ctx).feats, out)


@pytest.mark.parametrize('in_channels', [None, WIDTH])
def test_the_width_of_the_features_is_optional(in_channels):
    ctx = make_context()
    for relation in (
        ObjectPairRelation(in_channels, em_dim=16, key_num=3),
        PartGeometryRelation(PART_NAMES, em_dim=16, in_channels=in_channels),
    ):
        assert relation.in_channels == in_channels
        assert relation.out_channels == 48
        assert relation(ctx).feats.shape == (13, 48)
    with pytest.raises(ValueError, match='in_channels must be a positive int, got 0'):
        ObjectPairRelation(0)


def test_what_they_read():
    assert build('pair').needs == {'cls_logits'}
    assert build('part_geometry').needs == {'parts'}
    assert build('part_geometry').part_splits == frozenset()


def test_published_widths():
    assert ObjectPairRelation().out_channels == 64 * 64
    assert PartGeometryRelation(list('abcde')).out_channels == 320


@pytest.mark.parametrize('kind', [ObjectPairRelation, PartGeometryRelation])
@pytest.mark.parametrize(
    ('options', 'sentence'),
    [
        (dict(em_dim=12), 'em_dim=12 is not a multiple of 8'),
        (dict(em_dim=0), 'em_dim must be a positive int, got 0'),
        (dict(em_dim=64.0), 'em_dim must be a positive int, got 64.0'),
        (dict(wave_len=0), 'wave_len must be a positive number, got 0'),
        (dict(geom='polar'), r"geom='polar', allowed are \('hu', 'log1p'\)"),
    ],
)
def test_options_that_do_not_fit(kind, options, sentence):
    names = dict(part_names=PART_NAMES) if kind is PartGeometryRelation else {}
    with pytest.raises(ValueError, match=f'^{kind.__name__}: {sentence}'):
        kind(**names, **options)
