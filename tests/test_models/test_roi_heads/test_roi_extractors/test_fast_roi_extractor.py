"""The extractor in the place of mmdet's."""

import pytest
import torch
from mmcv import ops
from mmdet.registry import MODELS

from mmdet_ext.models.roi_heads.roi_extractors import GatheredRoIAlign

CFG = dict(roi_layer=dict(type='RoIAlign', output_size=7, sampling_ratio=0), out_channels=4, featmap_strides=[4, 8])


def build(kind='FastRoIExtractor', **options):
    return MODELS.build(dict(type=kind, **{**CFG, **options}))


def test_the_features_of_mmdet():
    torch.manual_seed(0)
    feats = tuple(torch.rand(2, 4, side, side) for side in (80, 40))
    rois = torch.tensor([[0, 10, 10, 60, 40], [1, 5, 30, 310, 300], [0, 100, 100, 120, 240], [1, 3, 3, 9, 9.0]])
    ours, theirs = build(), build('SingleRoIExtractor')
    torch.testing.assert_close(ours(feats, rois), theirs(feats, rois), rtol=1e-4, atol=1e-5)
    assert not ours.state_dict()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(dtype, device):
    torch.manual_seed(0)
    feats = tuple(torch.rand(1, 4, side, side, device=device).to(dtype) for side in (320, 160))
    # bfloat16 has no numbers between 1000 and 1004.
    rois = torch.tensor([[0, 1001.5, 1002.5, 1017.5, 1030.5], [0, 900, 700, 1201.5, 1203.0]], device=device)
    exact = build()(tuple(level.float() for level in feats), rois)
    with torch.autocast(device.type, dtype):
        found = build()(feats, rois)
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), exact, rtol=1e-2, atol=1e-3)
    # As mmdet does it, with RoIs of the type of the maps.
    rounded = build()(tuple(level.float() for level in feats), rois.to(dtype).float())
    assert (rounded - exact).abs().max() > 5e-2


def test_layers():
    assert [type(layer) for layer in build().roi_layers] == [GatheredRoIAlign] * 2
    assert type(build(roi_layer=dict(type=ops.RoIAlign, output_size=7)).roi_layers[0]) is GatheredRoIAlign
    assert type(build(roi_layer=dict(type='RoIPool', output_size=7)).roi_layers[0]) is ops.RoIPool
    with pytest.raises(ValueError, match=r"roi_layer\.type='RoIAling' is no layer of mmcv\.ops"):
        build(roi_layer=dict(type='RoIAling', output_size=7))
