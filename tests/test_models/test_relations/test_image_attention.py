"""Attention of an image over classes: the published formula, and no trace of batch padding."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmdet_ext.models.relations import ImageCategoryAttention

POOL = torch.randn(4, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def build(levels=(1, 2, 3), strides=(4, 8, 16, 32), **kwargs):
    return ImageCategoryAttention(7, 2, levels=levels, mid_channels=5, strides=strides, **kwargs).double()


def feature_maps(height, width, images=2, strides=(4, 8, 16, 32)):
    maps = [
        torch.randn(images, 2, -(-height // stride), -(-width // stride), dtype=torch.float64) for stride in strides
    ]
    return tuple(maps)


def test_the_published_formula():
    module, maps = build(), feature_maps(64, 96)
    stacked = torch.cat([F.interpolate(level, size=maps[2].shape[-2:]) for level in maps[1:]], dim=1)
    conv = module.conv.conv
    hidden = F.conv2d(stacked, conv.weight, conv.bias, stride=2, padding=1).relu().mean((2, 3))
    query = F.linear(hidden, module.fc[0].weight, module.fc[0].bias).relu()
    expected = (query @ POOL.T).softmax(1)
    out = module(maps, torch.tensor([[64, 96]] * 2), POOL)
    assert_close(out, expected)
    assert_close(out.sum(1), torch.ones(2, dtype=torch.float64))


def test_without_activation():
    module, maps, shapes = build(fc_act=False), feature_maps(64, 96), torch.tensor([[64, 96]] * 2)
    with_act = build()
    with_act.load_state_dict(module.state_dict())
    assert not torch.allclose(module(maps, shapes, POOL), with_act(maps, shapes, POOL))


@pytest.mark.parametrize('size', [(64, 96), (70, 50), (33, 100)])
@pytest.mark.parametrize('levels', [(1, 2, 3), (0, 1, 2, 3), (2,), (3, 0)])
@pytest.mark.parametrize('padded', [(96, 128), (128, 160), (112, 144)])
def test_batch_padding_changes_nothing(size, levels, padded):
    module, maps = build(levels), feature_maps(*size)
    shapes = torch.tensor([size, size])
    larger = []
    for level, room in zip(maps, feature_maps(*padded), strict=True):
        room[:, :, : level.shape[2], : level.shape[3]] = level
        larger.append(room)
    assert_close(module(tuple(larger), shapes, POOL), module(maps, shapes, POOL))


def test_the_image_counts():
    module, maps, shapes = build(), feature_maps(64, 96), torch.tensor([[64, 96]] * 2)
    before = module(maps, shapes, POOL)
    maps[1][0] += 3
    after = module(maps, shapes, POOL)
    assert not torch.allclose(after[0], before[0])
    assert_close(after[1], before[1], rtol=0, atol=0)


def test_the_middle_level_is_the_reference():
    assert build((0, 1, 2, 3)).stride == 8
    assert build((1, 2, 3)).stride == 16
    assert build((3,)).stride == 32


@pytest.mark.parametrize('options', [dict(in_channels='x'), dict(mid_channels=-1)])
def test_widths_that_are_none(options):
    with pytest.raises(ValueError, match=f'ImageCategoryAttention: {next(iter(options))} must be a positive int'):
        ImageCategoryAttention(5, **{'in_channels': 2, **options})


@pytest.mark.parametrize('levels', [(), (4,), (-1, 0), 2, '12'])
def test_levels_out_of_range(levels):
    with pytest.raises(ValueError, match='must name some of the 4 strides'):
        build(levels)


def test_too_few_maps():
    with pytest.raises(ValueError, match='there are only 2 feature maps'):
        build()(feature_maps(64, 96)[:2], torch.tensor([[64, 96]] * 2), POOL)


def test_maps_of_another_width():
    maps = tuple(level[:, :1] for level in feature_maps(64, 96))
    with pytest.raises(ValueError, match=r'in_channels=2, the feature maps have \[1\]'):
        build()(maps, torch.tensor([[64, 96]] * 2), POOL)
