"""The configs of real data sets train a step and evaluate on pictures of theirs; skipped where the data are absent."""

from pathlib import Path

import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope

from mmdet_ext.engine.config_check import check_config

CONFIGS = Path(__file__).parents[1] / 'configs'
CASES = {
    'scratch_gn/faster-rcnn_r18-gn_fpn_bccd.py': 'bccd',
    'scratch_gn/faster-rcnn_r18-gn_fpn_bccd-voc.py': 'bccd',
    'scratch_gn/faster-rcnn_r18-gn_fpn_hdbpmn.py': 'hdbpmn',
    'scratch_gn/faster-rcnn_r18-gn_fpn_hdbpmn-nodes-tiles.py': 'hdbpmn_tiles',
    'scratch_gn/faster-rcnn_r18-gn_fpn_deeppcb-tiles.py': 'deeppcb_tiles',
    'relation_rcnn/relation-faster-rcnn_r18-gn_fpn_hdbpmn.py': 'hdbpmn',
}


@pytest.mark.parametrize('name', CASES)
def test_trains_a_step_and_evaluates(name, monkeypatch, real_data):
    monkeypatch.setenv(f'MMDET_EXT_{CASES[name].upper()}', str(real_data(CASES[name])))
    init_default_scope('mmdet')
    cfg = Config.fromfile(CONFIGS / name)
    assert [problem for problem in check_config(cfg, images='none') if problem.severity == 'error'] == []

    model = MODELS.build(cfg.model)
    train = DATASETS.build(cfg.train_dataloader.dataset)
    losses = model(**model.data_preprocessor(pseudo_collate([train[0], train[1]]), True), mode='loss')
    loss, _ = model.parse_losses(losses)
    loss.backward()
    assert torch.isfinite(loss)

    val = DATASETS.build({**cfg.val_dataloader.dataset, 'indices': 2})
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = val.metainfo
    with torch.no_grad():
        for item in val:
            data = pseudo_collate([item])
            metric.process(data, [sample.to_dict() for sample in model.eval().test_step(data)])
    scores = metric.evaluate(size=len(val))
    assert all(-1 <= score <= 1 for score in scores.values())
