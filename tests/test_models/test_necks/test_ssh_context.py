"""Three views of a place, each exactly as wide as its name says."""

import pytest
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch.testing import assert_close

from mmdet_ext.models.necks.ssh_context import SSHContext

# Number of ways in which a cell is reached by one, two and three 3x3 convs of ones.
ROWS = {3: [1.0, 1, 1], 5: [1.0, 2, 3, 2, 1], 7: [1.0, 3, 6, 7, 6, 3, 1]}
LEAKY = dict(type='LeakyReLU', negative_slope=0.1)
BN = dict(type='BN')


def views(x):
    half, quarter = x.shape[1] // 2, x.shape[1] // 4
    return dict(zip(ROWS, x.split([half, quarter, quarter], dim=1), strict=True))


def impulse(channels=8, size=11):
    x = torch.zeros(1, channels, size, size)
    x[0, 0, size // 2, size // 2] = 1
    return x


def test_an_impulse_reaches_exactly_3_5_and_7_cells():
    context = SSHContext(8, act_cfg=LEAKY)
    for parameter in context.parameters():
        torch.nn.init.constant_(parameter, float(parameter.dim() > 1))
    paths = {3: 1, 5: 2, 7: 4}  # channels that carry the impulse multiply with every conv between
    for side, view in views(context(impulse())).items():
        row = torch.zeros(11)
        row[5 - side // 2 : 6 + side // 2] = torch.tensor(ROWS[side])
        assert_close(view, (paths[side] * row[:, None] * row).expand_as(view))


@pytest.mark.parametrize('side', ROWS)
def test_a_place_sees_exactly_its_view_with_norms_too(side):
    context = SSHContext(8, norm_cfg=BN, act_cfg=LEAKY).eval().double()
    x = torch.rand(1, 8, 11, 11, dtype=torch.float64, requires_grad=True)
    context.view3.bn.bias.data.fill_(100)
    context.view5.bn.bias.data.fill_(100)
    context.view7.bn.bias.data.fill_(100)  # past the last ReLU
    seen = torch.autograd.grad(views(context(x))[side][0, :, 5, 5].sum(), x)[0].abs().sum((0, 1)) > 0
    expected = torch.zeros(11, 11, dtype=torch.bool)
    expected[5 - side // 2 : 6 + side // 2, 5 - side // 2 : 6 + side // 2] = True
    assert_close(seen, expected)


def test_the_formula():
    context = SSHContext(8, act_cfg=LEAKY)
    x = torch.randn(2, 8, 6, 5)

    def conv(name, value):
        layer = getattr(context, name).conv
        return F.conv2d(value, layer.weight, layer.bias, padding=1)

    shared = F.leaky_relu(conv('shared', x), 0.1)
    middle = F.leaky_relu(conv('middle', shared), 0.1)
    assert_close(context(x), torch.cat([conv('view3', x), conv('view5', shared), conv('view7', middle)], 1).relu())
    assert context(x).min() == 0


@pytest.mark.parametrize(('channels', 'total'), [(64, 34752), (256, 553728)])
def test_number_of_parameters(channels, total):
    context = SSHContext(channels, norm_cfg=BN)
    assert sum(parameter.numel() for parameter in context.parameters()) == total


def test_the_larger_views_share_a_conv():
    context = SSHContext(8)
    for name in ('view5', 'view7'):
        context.zero_grad()
        side = int(name[-1])
        views(context(torch.randn(1, 8, 9, 9)))[side].sum().backward()
        assert context.shared.conv.weight.grad.abs().sum() > 0
        assert context.view3.conv.weight.grad.abs().sum() == 0


def test_conv_norm_and_activation_are_those_of_the_config():
    context = SSHContext(
        8, dict(type='Conv2dAdaptivePadding'), dict(type='GN', num_groups=2), dict(type='SiLU'), init_cfg=None
    )
    found = {
        name: [type(part).__name__ for part in module.children()]
        for name, module in context.named_children()
        if isinstance(module, ConvModule)
    }
    assert found.pop('shared') == found.pop('middle') == ['Conv2dAdaptivePadding', 'GroupNorm', 'SiLU']
    assert found == {side: ['Conv2dAdaptivePadding', 'GroupNorm'] for side in ('view3', 'view5', 'view7')}


@pytest.mark.parametrize('channels', [0, 2, 6, 66, -4])
def test_channels_that_four_does_not_divide(channels):
    with pytest.raises(ValueError, match=f'SSHContext: {channels} channels; half and two quarters .* multiple of 4'):
        SSHContext(channels)
