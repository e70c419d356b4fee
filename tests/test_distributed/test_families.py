"""Every family trains on two ranks as on one with their images, also where one rank has no objects, and is resumed."""

import os
from unittest import mock

import pytest
import torch
from torch.testing import assert_close

from .family_case import FAMILIES, ImageIdHook, family_config, make_data, save_start
from .two_ranks import losses_of, run_two_ranks, train_here, write_config

# One process makes what the tests of this file share.
pytestmark = pytest.mark.xdist_group('families')

BF16 = {'optim_wrapper.type': 'CPUAutocastOptimWrapper'}
TWICE = {'optim_wrapper.accumulative_counts': 2}
SHUFFLED = {'train_dataloader.sampler.shuffle': True, 'train_cfg.max_epochs': 2}
# Name of a run: family, options, images of a step on all ranks together.
RUNS = {
    **{name: (name, {}, 4) for name in FAMILIES},
    **{f'{name}_bf16': (name, BF16, 4) for name in ('relation', 'ghm', 'yolo')},
    'twice': ('single_shot', TWICE, 2),
    'shuffled': ('single_shot', SHUFFLED, 4),
}


def train_all(_, ranks, root, source=None):
    """Update, losses and images of every run, and of one that goes on from the first epoch of other ranks."""
    found = {}
    for name, (family, options, images) in RUNS.items():
        found[name] = one_run(ranks, root, name, family, options, images)
    if source is not None:
        found['resumed'] = resumed(ranks, root, source)
    return found


def one_run(ranks, root, name, family, options, images, **more):
    """Train it, and tell by how much the weights moved."""
    start = root / f'{family}.pth'
    options = {'train_dataloader.batch_size': images // ranks, 'load_from': str(start), **options}
    runner = train_here(root / f'{family}.py', root / f'{name}_{ranks}', cfg_options=options, **more)
    before = torch.load(start)['state_dict']
    model = runner.model
    update = {key: value.detach() - before[key] for key, value in model.named_parameters()}
    ids = next(hook.ids for hook in runner.hooks if isinstance(hook, ImageIdHook))
    return dict(update=update, losses=losses_of(runner), ids=ids)


def resumed(ranks, root, source):
    """The second epoch of the shuffled run, after a first one on another number of ranks."""
    first = str(root / f'shuffled_{source}/epoch_1.pth')
    return one_run(ranks, root, 'resumed', *RUNS['shuffled'], resume=first)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """Results of one rank, and of each of two."""
    root = tmp_path_factory.mktemp('families')
    with mock.patch.dict(os.environ, make_data(root)):
        for name in FAMILIES:
            save_start(write_config(family_config(name), root / f'{name}.py'), root / f'{name}.pth')
        one = train_all(0, 1, root)
        two = run_two_ranks(train_all, root / 'ranks', 2, root, 1)
        one['resumed'] = resumed(1, root, 2)
    return one, two


def distance(update, other):
    """Of two updates of all weights, as a share of the second."""
    first, second = (torch.cat([value.flatten() for value in found.values()]) for found in (update, other))
    return ((first - second).norm() / second.norm()).item()


@pytest.mark.parametrize('name', RUNS)
def test_two_ranks_train_as_one(runs, name):
    one, (first, second) = runs
    expected = one[name]
    assert all(torch.isfinite(value).all() for value in expected['update'].values())
    assert_close(first[name]['update'], second[name]['update'])
    wide = one[name.removesuffix('_bf16')]
    # Bfloat16 rounds the gradients of two ranks otherwise than those of one, by as much as it rounds either.
    rounding = distance(expected['update'], wide['update'])
    assert (rounding > 0) == name.endswith('_bf16')
    assert distance(first[name]['update'], wide['update']) < 1.5 * rounding + 5e-3
    mean = [(a + b) / 2 for a, b in zip(first[name]['losses'], second[name]['losses'], strict=True)]
    assert_close(mean, expected['losses'], rtol=0.02 if rounding else 1e-4, atol=0)


@pytest.mark.parametrize('name', RUNS)
def test_a_step_has_the_same_images(runs, name):
    one, ranks = runs
    steps = [sorted(a + b) for a, b in zip(*(rank[name]['ids'] for rank in ranks), strict=True)]
    assert steps == [sorted(ids) for ids in one[name]['ids']]
    epoch = [image for ids in steps[: 8 // len(steps[0])] for image in ids]
    assert len(epoch) == len(set(epoch)) == 8


def test_resume_on_another_number_of_ranks(runs):
    """The images of an epoch come in the same order: none is lost, none comes twice, and the update is the same."""
    one, ranks = runs
    whole = [sorted(ids) for ids in one['shuffled']['ids']]
    assert whole[:2] != whole[2:]
    assert [sorted(ids) for ids in one['resumed']['ids']] == whole[2:]
    assert [sorted(a + b) for a, b in zip(*(rank['resumed']['ids'] for rank in ranks), strict=True)] == whole[2:]
    for found in (one, *ranks):
        assert distance(found['resumed']['update'], one['shuffled']['update']) < 1e-3
