import pytest
import torch
from mmdet.registry import MODELS

from mmdet_ext.deployment.candidates import ABSENT
from mmdet_ext.deployment.two_stage import pool, proposals

from .export_case import build, picture, two_stage


@pytest.mark.parametrize('kind', ['SingleRoIExtractor', 'FastRoIExtractor'])
def test_pool_is_the_extractor(kind: str) -> None:
    """RoIs of all sizes, on every level, points and lines among them."""
    torch.manual_seed(0)
    for sampling_ratio in (0, 2):
        extractor = MODELS.build(
            dict(
                type=kind,
                roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=sampling_ratio),
                out_channels=4,
                featmap_strides=[4, 8, 16],
                finest_scale=10,
            )
        )
        maps = [torch.randn(2, 4, 64 // stride, 80 // stride) for stride in (4, 8, 16, 32)]
        corner = torch.rand(40, 2) * 40
        sides = torch.exp(torch.rand(40, 2) * 5) - 1
        sides[:3] = 0
        sides[3, 0] = 0
        rois = torch.cat([torch.randint(0, 2, (40, 1)), corner, corner + sides], dim=1)
        assert extractor.map_roi_levels(rois, 3).unique().tolist() == [0, 1, 2]
        torch.testing.assert_close(pool(extractor, maps, rois), extractor(maps[:3], rois), rtol=0, atol=1e-5)


def test_proposals_are_mmdets() -> None:
    model = build(two_stage())
    images = torch.stack([picture(64, 96), picture(64, 96, seed=1)]).float()
    features = model.extract_feat(images / 50 - 2)
    found = proposals(model.rpn_head, features, model.test_cfg.rpn, 64, 96)
    metas = [dict(img_shape=(64, 96))] * 2
    expected = model.rpn_head.predict_by_feat(*model.rpn_head(features), batch_img_metas=metas, cfg=model.test_cfg.rpn)
    assert found.scores.shape == (2, 20)
    for i, own in enumerate(expected):
        there = found.scores[i] > ABSENT
        torch.testing.assert_close(found.boxes[i][there], own.bboxes)
        torch.testing.assert_close(found.scores[i][there], own.scores)


def test_proposals_of_a_small_image_are_padded() -> None:
    model = build(two_stage())
    model.test_cfg.rpn.nms.iou_threshold = 0.01
    features = model.extract_feat(torch.randn(1, 3, 32, 32))
    found = proposals(model.rpn_head, features, model.test_cfg.rpn, 32, 32)
    assert found.scores.shape == (1, 20)
    assert 0 < (found.scores > ABSENT).sum() < 20
