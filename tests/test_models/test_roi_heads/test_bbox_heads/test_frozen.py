"""What a relation box head does not learn."""

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from .head_case import FUSED, TRAIN_CFG, build_head, make_rois, make_samples

FROZEN = ['shared_convs', 'shared_fcs', 'base_fc_cls', 'base_fc_reg']


def step(head, model=None):
    x, ctx = make_rois()
    losses = head.loss((model or head)(x, ctx), ctx.rois, make_samples(ctx), TRAIN_CFG)
    sum(value for key, value in losses.items() if 'loss' in key).backward()


def test_names():
    head = build_head(frozen=['shared_fcs', 'base_fc_cls', 'relations.0'])
    still = {name.split('.')[0] for name, parameter in head.named_parameters() if parameter.requires_grad}
    assert still == {'fc_cls', 'fc_reg', 'base_fc_reg'}


@pytest.mark.parametrize('name', ['fc_clss', ''])
def test_unknown(name):
    with pytest.raises(ValueError, match=rf"frozen names '{name}'; known are .*'fc_cls'"):
        build_head(frozen=[name])


def test_only_the_rest_gets_gradients():
    head = build_head(FUSED, frozen=FROZEN[1:])
    step(head)
    learning = {name for name, parameter in head.named_parameters() if parameter.grad is not None}
    assert {name.split('.')[0] for name in learning} == {'relations', 'fc_cls', 'fc_reg'}


def test_norm_layers_keep_their_statistics():
    options = dict(num_shared_convs=1, conv_out_channels=4, norm_cfg=dict(type='BN'))
    for frozen in ([], FROZEN):
        head = build_head(FUSED, frozen=frozen, **options)
        assert head.shared_convs[0].bn.training != bool(frozen)
        head.train(False).train()
        assert head.fc_cls.training
        assert head.shared_convs[0].bn.training != bool(frozen)
        step(head)
        assert head.shared_convs[0].bn.running_mean.any() != bool(frozen)


def test_two_ranks_need_no_search_for_unused_parameters(tmp_path):
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/meet', rank=0, world_size=1)
    try:
        head = build_head(FUSED, frozen=FROZEN[1:])
        before = [parameter.clone() for parameter in head.shared_fcs.parameters()]
        model = DistributedDataParallel(head)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            # An unused parameter is an error in the next forward.
            step(head, model)
            optimizer.step()
        assert_close([parameter.data for parameter in head.shared_fcs.parameters()], [x.data for x in before])
    finally:
        dist.destroy_process_group()
