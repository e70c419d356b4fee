"""RoIAlign by gathering rows: closed forms, mmcv's kernel as the slow reference, and what no RoI may break."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import RoIAlign, roi_align

from mmdet_ext.models.roi_heads.roi_extractors import GatheredRoIAlign, gather_roi_align, gathered_roi_align


def maps(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def some_rois(number, images, size, seed=0):
    """Half of them reach out of the image, some have no area."""
    generator = torch.Generator().manual_seed(seed)
    corners = (torch.rand(number, 4, generator=generator) * 1.6 - 0.3) * size
    boxes = torch.cat([corners[:, :2].minimum(corners[:, 2:]), corners[:, :2].maximum(corners[:, 2:])], dim=1)
    boxes[::7, 2:] = boxes[::7, :2]
    return torch.cat([torch.randint(0, images, (number, 1), generator=generator).float(), boxes], dim=1)


def both(feats, rois, *args):
    """Results and gradients of ours and mmcv's."""
    found = []
    for function in (gather_roi_align, lambda f, r, o, s, g, a: roi_align(f, r, o, s, g, 'avg', a)):
        leaf = feats.clone().requires_grad_()
        out = function(leaf, rois, *args)
        upstream = maps(*out.shape, seed=5, dtype=feats.dtype)
        found.append((out.detach(), *torch.autograd.grad(out, leaf, upstream)))
    return found


def test_a_linear_map_is_sampled_at_the_centres_of_bins():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(10.0), indexing='ij')
    feats = torch.stack([y, x])[None]
    out = gather_roi_align(feats, torch.tensor([[0.0, 2, 1, 8, 5]]), (2, 3), 1.0)
    # Pixel centres lie at halves: rows at 1 + 1 and 1 + 3, less 0.5; columns at 2 + 1, 2 + 3, 2 + 5, less 0.5.
    torch.testing.assert_close(out[0, 0], torch.tensor([[1.5] * 3, [3.5] * 3]))
    torch.testing.assert_close(out[0, 1], torch.tensor([[2.5, 4.5, 6.5]] * 2))
    # On a map of half the size the same places lie at half.
    out = gather_roi_align(feats, torch.tensor([[0.0, 4, 2, 16, 10]]), (2, 3), 0.5)
    torch.testing.assert_close(out[0, 1], torch.tensor([[2.5, 4.5, 6.5]] * 2))


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 1, 3])
@pytest.mark.parametrize('size', [(7, 7), (3, 5)])
def test_equals_mmcv(aligned, sampling_ratio, size):
    feats, rois = maps(2, 5, 13, 17), some_rois(40, 2, 64)
    ours, theirs = both(feats, rois, size, 0.25, sampling_ratio, aligned)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from([1.0, 0.5, 1 / 32]),
)
def test_equals_mmcv_everywhere(seed, number, shape, scale):
    feats, rois = maps(2, 3, *shape, seed=seed), some_rois(number, 2, 60, seed)
    ours, theirs = both(feats, rois, (2, 3), scale, 0, True)
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


def test_gradient():
    feats = maps(2, 2, 5, 6, dtype=torch.float64).requires_grad_()
    rois = some_rois(6, 2, 20).double()
    assert torch.autograd.gradcheck(lambda x: gather_roi_align(x, rois, (2, 3), 0.25), feats)


def test_chunks_change_nothing(monkeypatch):
    feats, rois = maps(1, 3, 20, 20), some_rois(30, 1, 80)
    whole = gather_roi_align(feats, rois, 4, 0.25)
    for size in (1, 100, 5000):
        monkeypatch.setattr(gathered_roi_align, 'CHUNK', size)
        assert torch.equal(gather_roi_align(feats, rois, 4, 0.25), whole)


def test_channels_last_changes_nothing():
    feats, rois = maps(2, 4, 9, 9), some_rois(10, 2, 36)
    last = feats.to(memory_format=torch.channels_last)
    assert torch.equal(gather_roi_align(last, rois, 3, 0.25), gather_roi_align(feats, rois, 3, 0.25))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    feats, rois = maps(1, 4, 9, 9).to(dtype).requires_grad_(), some_rois(10, 1, 36)
    out = gather_roi_align(feats, rois, 3, 0.25)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float(), gather_roi_align(feats.float(), rois, 3, 0.25), rtol=1e-2, atol=1e-2)
    out.sum().backward()
    assert feats.grad.isfinite().all()


def test_no_rois():
    feats = maps(1, 4, 9, 9).requires_grad_()
    out = gather_roi_align(feats, torch.zeros(0, 5), (3, 2))
    assert out.shape == (0, 4, 3, 2)
    out.sum().backward()
    assert not feats.grad.any()


def test_rois_without_area_and_without_numbers():
    feats = maps(1, 2, 6, 6)
    nan, inf = float('nan'), float('inf')
    rois = torch.tensor([[0, 2, 2, 2, 5], [0, nan, 1, 3, 3], [0, 1, 1, inf, 3], [0, 1, 1, 4, 4], [0, 4, 4, 1, 1.0]])
    out = gather_roi_align(feats, rois, 2)
    assert not out[[0, 4]].any()
    assert out[[1, 2]].isnan().all()
    assert out[3].isfinite().all()


@pytest.mark.parametrize(
    ('feats', 'rois', 'sentence'),
    [
        ((1, 4, 9, 9), (3, 4), r'feats \(1, 4, 9, 9\) and rois \(3, 4\), must be'),
        ((4, 9, 9), (3, 5), r'must be \(B, C, H, W\) and \(R, 5\)'),
    ],
)
def test_shapes(feats, rois, sentence):
    with pytest.raises(ValueError, match=sentence):
        gather_roi_align(torch.zeros(feats), torch.zeros(rois), 2)


def test_an_image_that_is_not_there():
    for image in (2.0, -1.0):
        with pytest.raises(ValueError, match=r'rois of the images \[.*\] for 2 maps'):
            gather_roi_align(torch.zeros(2, 1, 4, 4), torch.tensor([[image, 0, 0, 2, 2]]), 2)


def test_the_layer_leaves_the_rest_to_mmcv(monkeypatch):
    feats, rois = maps(1, 2, 9, 9), some_rois(5, 1, 36)
    plain = RoIAlign(3, 0.25, 2, aligned=False)(feats, rois)
    torch.testing.assert_close(GatheredRoIAlign(3, 0.25, 2, aligned=False)(feats, rois), plain)
    monkeypatch.setattr(gathered_roi_align, 'gather_roi_align', lambda *args: 1 / 0)
    largest = dict(output_size=3, spatial_scale=0.25, pool_mode='max')
    assert torch.equal(GatheredRoIAlign(**largest)(feats, rois), RoIAlign(**largest)(feats, rois))
