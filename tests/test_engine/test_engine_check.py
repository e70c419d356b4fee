"""What does not go with FSDP or DeepSpeed is said in a sentence."""

import pytest
from mmengine.config import Config

from mmdet_ext.engine import engine_check
from mmdet_ext.engine.engine_check import check_engine
from tests.test_models.small_detector import CONFIGS

FLEXIBLE = {'runner_type': 'FlexibleRunner', 'launcher': 'pytorch'}
SHARDED = {**FLEXIBLE, 'strategy': {'type': 'ShardedStrategy'}}
DEEPSPEED = {**FLEXIBLE, 'strategy': {'type': 'DeepSpeedStrategy'}}
PATH = CONFIGS / 'relation_rcnn'


@pytest.mark.parametrize(
    'cfg',
    [
        {},
        {'runner_type': 'Runner', 'custom_hooks': [{'type': 'EMAHook'}]},
        FLEXIBLE,
        SHARDED,
        {**SHARDED, 'launcher': 'slurm'},
    ],
)
def test_nothing_to_say(cfg):
    check_engine(Config(cfg))
    check_engine(Config(cfg), amp=True)


@pytest.mark.parametrize(
    ('cfg', 'said'),
    [
        ({'strategy': {'type': 'DDPStrategy'}}, "add runner_type = 'FlexibleRunner'"),
        ({**SHARDED, 'launcher': 'none'}, 'dist_train.sh'),
        ({**SHARDED, 'strategy': {'type': 'FSDPStrategy'}, 'launcher': 'none'}, 'FSDPStrategy shards over ranks'),
        ({**SHARDED, 'custom_hooks': [{'type': 'mmdet.EMAHook'}]}, 'Take it out'),
        ({**FLEXIBLE, 'custom_hooks': [{'type': 'EMAHook'}]}, 'Take it out'),
    ],
)
def test_refused(cfg, said):
    with pytest.raises(ValueError, match=said):
        check_engine(Config(cfg))


def test_deepspeed(monkeypatch):
    monkeypatch.setattr(engine_check, 'find_spec', lambda name: None)
    with pytest.raises(ValueError, match='pip install'):
        check_engine(Config(DEEPSPEED))
    monkeypatch.setattr(engine_check, 'find_spec', lambda name: object())
    check_engine(Config(DEEPSPEED))
    with pytest.raises(ValueError, match='bf16'):
        check_engine(Config(DEEPSPEED), amp=True)


@pytest.mark.parametrize(('name', 'strategy'), [('fsdp', 'ShardedStrategy'), ('deepspeed-zero2', 'DeepSpeedStrategy')])
def test_the_configs_differ_from_the_demo_by_their_engine(name, strategy):
    plain, cfg = (
        Config.fromfile(PATH / f'relation-faster-rcnn_r18-gn_fpn_{part}chest-phantom.py')._cfg_dict.to_dict()
        for part in ('', f'{name}_')
    )
    assert cfg.pop('runner_type') == 'FlexibleRunner'
    assert cfg.pop('strategy')['type'] == strategy
    wrapper, other = cfg.pop('optim_wrapper'), plain.pop('optim_wrapper')
    assert wrapper['optimizer'] == other['optimizer']
    assert wrapper['paramwise_cfg'] == other['paramwise_cfg']
    assert cfg == plain
