"""The same detections as a plain detector, from its checkpoint."""

import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn
from torch.testing import assert_close

from ...relation_case import GEOMETRY, GRAPH, PAIR
from ...small_detector import CONFIGS, small_cascade_config, small_config, small_mask_config


def configs(kind, fusion):
    """Config of a plain detector and of its relational sibling."""
    if kind == 'cascade':
        plain = small_cascade_config()
        plain.model.roi_head.type = 'CascadeRoIHead'
        ours = small_cascade_config([[GEOMETRY], [GRAPH, PAIR]], fusion=fusion)
    else:
        plain = small_config(CONFIGS / f'scratch_gn/{kind}-rcnn_r18-gn_fpn_chest-phantom.py')
        ours = small_mask_config() if kind == 'mask' else small_config()
        ours.model.roi_head.bbox_head.update(fusion=fusion)
    for cfg in (plain, ours):
        cfg.test_dataloader = small_config().test_dataloader
        cfg.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=20)
    return plain, ours


def relation_heads(model):
    heads = model.roi_head.bbox_head
    return list(heads[1:]) if isinstance(heads, nn.ModuleList) else [heads]


def learnt(cfg, path):
    """The plain detector, with scores that tell boxes apart; its checkpoint in `path`."""
    model = MODELS.build(cfg.model)
    model.init_weights()
    for name, parameter in model.roi_head.named_parameters():
        if 'fc_cls' in name or 'fc_reg' in name:
            nn.init.normal_(parameter, std=0.3)
    meta = dict(dataset_meta=dict(classes=[f'class {i}' for i in range(10)]))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return model.eval()


@pytest.mark.parametrize('kind', ['faster', 'mask', 'cascade'])
@pytest.mark.parametrize(('fusion', 'door'), [('concat', init_detector), ('gate', load_checkpoint)])
def test_same_detections(kind, fusion, door, tmp_path):
    plain_cfg, cfg = configs(kind, fusion)
    path = str(tmp_path / 'plain.pth')
    plain = learnt(plain_cfg, path)
    if door is init_detector:
        ours = init_detector(cfg, path, device='cpu', palette='random')
    else:
        init_default_scope('mmdet')
        ours = MODELS.build(cfg.model).eval()
        load_checkpoint(ours, path, 'cpu', strict=False)
    assert all(head.warm_start_report.dropped == [] for head in relation_heads(ours))
    plain.cfg = ours.cfg = cfg
    image = torch.randint(0, 255, (96, 128, 3), dtype=torch.uint8).numpy()
    expected, found = (inference_detector(model, image).pred_instances for model in (plain, ours))
    assert len(expected) == 20
    assert len(expected.scores.unique()) > 10
    for key in ('bboxes', 'scores', 'labels') + ('masks',) * (kind == 'mask'):
        assert_close(found[key], expected[key], rtol=1e-5, atol=1e-4)
