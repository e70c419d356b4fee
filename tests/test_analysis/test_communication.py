"""Volume of a training step: closed forms, and collectives that are watched."""

import json

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config
from torch import nn

from mmdet_ext.analysis.communication import (
    CollectiveWatch,
    count_parameters,
    pretended_ranks,
    run_communication,
    table_cells,
    tell_volume,
    watch_step,
)
from mmdet_ext.analysis.readme_tables import update_readmes
from tests.test_models.small_detector import CONFIGS, DEMO, small_config

ROOT = CONFIGS.parent
FOCAL = CONFIGS / 'single_shot/single-shot_r18-gn_fpn_chest-phantom.py'


@pytest.mark.parametrize(('ranks', 'share'), [(2, 0.5), (8, 7 / 8), (64, 63 / 64)])
def test_closed_forms(ranks, share):
    calls = [('allreduce', 800), ('allreduce', 200), ('allgather', 1000)]
    row = tell_volume('x', ranks, parameters=3_000_000, trained=2_000_000, calls=calls, link=2.0)
    # Four bytes each: 8 MB of gradients there and back; 12 MB of weights twice and 8 MB of gradients once.
    assert row.ddp_mb == pytest.approx(2 * share * 8)
    assert row.fsdp_mb == pytest.approx(share * (12 + 12 + 8))
    assert row.calls == {'allreduce': 2, 'allgather': 1}
    assert row.calls_mb == pytest.approx(share * (2 * 1000 + 1000) / 1e6)
    # 2 GB/s are 2 MB/ms.
    assert (row.ddp_ms, row.fsdp_ms) == pytest.approx((row.ddp_mb / 2, row.fsdp_mb / 2))


def test_parameters():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    assert count_parameters(model) == (13, 4)


def test_every_collective_is_seen():
    x = torch.ones(3)
    with pretended_ranks(), CollectiveWatch() as watch:
        assert dist.get_world_size() == 2
        dist.all_reduce(x)
        dist.all_gather([torch.ones(3), torch.ones(3)], x)
        dist.broadcast(torch.ones(2, dtype=torch.float64), 0)
        x + 1
    assert watch.seen == [('allreduce', 12), ('allgather', 24), ('broadcast', 16)]
    assert not dist.is_initialized()


def test_not_within_a_training():
    with pretended_ranks(), pytest.raises(ValueError, match='without torchrun'), pretended_ranks():
        pass
    assert not dist.is_initialized()


def test_heads_and_losses():
    """A mean of counts in the one-stage head, one of two counts of RoIs in the relation head; GHM sums its bins."""
    cfg = small_config(FOCAL)
    plain = watch_step(cfg)
    assert {kind for kind, _ in plain} == {'allreduce'}
    cfg.model.bbox_head.loss_cls = dict(type='GHMCLoss', bins=30)
    ghm = watch_step(cfg)
    # 30 int64 of bins.
    assert sorted(ghm) == sorted([*plain, ('allreduce', 240)])
    assert watch_step(small_config(DEMO)) == [('allreduce', 8)]


def test_a_model_that_cannot_be_trained():
    cfg = small_config(FOCAL)
    cfg.model.train_cfg.assigner = dict(type='MaxIoUAssigner', pos_iou_thr='a', neg_iou_thr=0.4)
    with pytest.raises(ValueError, match='cannot be trained a step'):
        watch_step(cfg)
    assert not dist.is_initialized()


def test_table_and_figures(tmp_path):
    config = tmp_path / 'small.py'
    small_config(FOCAL).dump(config)
    said = []
    out = tmp_path / 'new/figures.json'
    rows = run_communication([config], ranks=[8, 64], link=25.0, out=out, say=said.append)
    assert [row.ranks for row in rows] == [8, 64]
    written = json.loads(out.read_text())
    assert written['link_gb_s'] == 25
    assert written['rows'][1]['ddp_mb'] == rows[1].ddp_mb
    assert 'torch' in written['versions']
    head, cells = table_cells(rows)
    assert len(cells) == 2
    assert said[0].splitlines()[0].count('|') == len(head) + 1
    assert cells[0][0] == 'small'
    assert cells[0][-1].startswith(f'{sum(rows[0].calls.values())} allreduce: ')
    model = Config.fromfile(config).model
    assert rows[0].parameters >= rows[0].trained > 0
    assert model.type


def test_the_page_has_the_stored_figures():
    assert update_readmes([ROOT / 'docs/distributed.md'], ROOT, check=True) == []


def test_no_counts():
    row = tell_volume('x', 2, 10, 10, [], 1.0)
    assert table_cells([row])[1][0][-1] == 'none'


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        ({'ranks': []}, '--ranks'),
        ({'ranks': [1, 8]}, 'at least 2'),
        ({'link': 0.0}, '--link'),
        ({'out': 'x.csv'}, 'as .json'),
    ],
)
def test_bad_options(options, said):
    with pytest.raises(ValueError, match=said):
        run_communication([FOCAL], **options)
