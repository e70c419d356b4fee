"""FSDP on two ranks trains, saves and resumes as DDP does; DeepSpeed as far as a machine without it goes."""

import pytest
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.testing import assert_close

from mmdet_ext.datasets.chest_phantom import make_chest_phantom
from mmdet_ext.engine.checkpoint import check_weights, read_checkpoint
from mmdet_ext.engine.launch import test as run_test
from tests.test_models.small_detector import CONFIGS, shrink

from .family_case import save_start
from .two_ranks import losses_of, run_two_ranks, train_here, write_config

# One process makes what the tests of this file share.
pytestmark = pytest.mark.xdist_group('engines')

RELATION = CONFIGS / 'relation_rcnn'
NAMES = {
    'ddp': 'relation-faster-rcnn_r18-gn_fpn_chest-phantom.py',
    'fsdp': 'relation-faster-rcnn_r18-gn_fpn_fsdp_chest-phantom.py',
}
# Clips every step.
SHORT = {
    'randomness': {'seed': 1},
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 2,
    'optim_wrapper.clip_grad.max_norm': 0.1,
}


def small(name):
    """That config with fewer channels; what the launcher reads stays."""
    cfg = shrink(Config.fromfile(RELATION / NAMES[name]))
    cfg.train_dataloader.batch_size = 2
    cfg.default_hooks.logger.interval = 1
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='RunRecordHook'), dict(type='LossMonitorHook')]
    return cfg


def train_all(rank, configs, root):
    """Losses and gradient norms of both engines; losses of each going on from the first epoch of either."""
    found = {}
    for engine in NAMES:
        runner = train_here(configs[engine], root / engine, cfg_options={**SHORT, 'load_from': str(root / 'start.pth')})
        found[engine] = losses_of(runner)
        found[f'{engine}_norms'] = runner.message_hub.get_scalar('train/grad_norm').data[0].tolist()
        for source in NAMES if engine == 'fsdp' else ():
            found[f'{source}_in_fsdp'] = resumed(configs['fsdp'], root, source, 'fsdp')
    found['fsdp_in_ddp'] = resumed(configs['ddp'], root, 'fsdp', 'ddp')
    return found


def resumed(config, root, source, engine):
    """Losses of a run of two epochs whose second one is trained by that engine."""
    first = str(root / source / 'epoch_1.pth')
    return losses_of(train_here(config, root / f'{source}_in_{engine}', resume=first, cfg_options=SHORT))


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp('engines')
    data = root / 'data/chest_phantom'
    make_chest_phantom(data, train=8, val=2, size=64, preview=False, progress=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMDET_EXT_CHEST_PHANTOM', str(data))
        configs = {name: write_config(small(name), root / f'{name}.py') for name in NAMES}
    # The two runners draw the first weights at different times.
    save_start(configs['ddp'], root / 'start.pth')
    return root, configs, run_two_ranks(train_all, root / 'ranks', configs, root)


def test_losses_are_those_of_ddp(runs):
    _, _, ranks = runs
    for found in ranks:
        assert len(found['ddp']) == 4
        assert len(set(found['ddp'])) == 4
        assert_close(found['fsdp'], found['ddp'], rtol=1e-5, atol=1e-5)


def test_gradients_are_clipped_by_the_norm_of_all_shards(runs):
    """Adam forgives a wrong factor, so that the losses would not show it."""
    _, _, ranks = runs
    for found in ranks:
        assert min(found['ddp_norms']) > SHORT['optim_wrapper.clip_grad.max_norm']
        assert_close(found['fsdp_norms'], found['ddp_norms'], rtol=1e-4, atol=0)


@pytest.mark.parametrize('run', ['fsdp_in_fsdp', 'ddp_in_fsdp', 'fsdp_in_ddp'])
def test_either_engine_goes_on_from_either(runs, run):
    _, _, ranks = runs
    for found in ranks:
        # A checkpoint holds the log of the first rank.
        assert_close(found[run][2:], found['ddp'][2:], rtol=1e-5, atol=1e-5)


def test_checkpoint_is_that_of_a_plain_run(runs):
    root, configs, _ = runs
    plain, sharded = (read_checkpoint(root / engine / 'epoch_2.pth') for engine in NAMES)
    assert plain['state_dict'].keys() == sharded['state_dict'].keys()
    assert sharded['random_state'] == plain['random_state']
    for name, value in plain['state_dict'].items():
        assert_close(sharded['state_dict'][name], value, rtol=0, atol=1e-4)
    init_default_scope('mmdet')
    model = MODELS.build(Config.fromfile(configs['fsdp']).model)
    assert check_weights(model, root / 'fsdp/epoch_2.pth', strict=True).complete
    assert not list(root.rglob('*.part'))


def test_it_is_tested_without_fsdp(runs, tmp_path):
    root, configs, _ = runs
    metrics = run_test(configs['fsdp'], root / 'fsdp/epoch_2.pth', work_dir=tmp_path)
    assert 0 <= metrics['coco/bbox_mAP'] <= 1
