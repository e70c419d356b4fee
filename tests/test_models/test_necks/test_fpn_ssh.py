"""FPN-SSH: the published sizes, both merge orders, any sizes of maps, and none of the seed's bugs."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.necks import FPNSSH

WIDTHS = (4, 6, 10)
SIZES = [(13, 9), (7, 5), (4, 3)]
LARGE = [(20, 24), (10, 12), (5, 6)]  # mmcv's DCN refuses maps smaller than its kernel
EXTRA = [False, True, 'on_input', 'on_lateral', 'on_output']
MERGES = ['sequential', 'after']
GN = dict(type='GN', num_groups=2)


def neck(widths=WIDTHS, channels=8, num_outs=None, **options):
    return FPNSSH(list(widths), channels, num_outs or len(widths), **options)


def maps(widths=WIDTHS, sizes=SIZES, images=2, needs_grad=False, dtype=None):
    return tuple(
        torch.randn(images, width, *size, dtype=dtype).requires_grad_(needs_grad)
        for width, size in zip(widths, sizes, strict=True)
    )


def unused(module):
    return [name for name, value in module.named_parameters() if value.requires_grad and value.grad is None]


def total(outs):
    return sum(out.square().sum() for out in outs)


def gradients(module, inputs, **options):
    module.zero_grad()
    total(module(inputs)).backward(**options)
    return {name: value.grad.clone() for name, value in module.named_parameters()}


def build(cfg):
    return MODELS.build(ConfigDict(type='FPNSSH', _scope_='mmdet', **cfg))


# ---------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ('widths', 'channels', 'parts', 'number'),
    [
        ((64, 128, 256), 64, (29056, 73984, 3 * 34752), 207296),
        ((512, 1024, 2048), 256, (919040, 1180672, 3 * 553728), 3760896),
    ],
)
def test_number_of_parameters(widths, channels, parts, number):
    module = neck(widths, channels)
    found = [
        sum(parameter.numel() for parameter in part.parameters())
        for part in (module.lateral_convs, module.merge_convs, module.contexts)
    ]
    assert tuple(found) == parts
    assert sum(parameter.numel() for parameter in module.parameters()) == number


@pytest.mark.parametrize('levels', [1, 2, 3, 5])
@pytest.mark.parametrize('merge', MERGES)
def test_merge_convs_for_n_levels(levels, merge):
    module = neck([4] * levels, merge=merge)
    assert len(module.merge_convs) == levels - (merge == 'sequential')
    sizes = [(2 ** (levels - i),) * 2 for i in range(levels)]
    outs = module(maps([4] * levels, sizes))
    assert [out.shape for out in outs] == [(2, 8, *size) for size in sizes]
    total(outs).backward()
    assert unused(module) == []


# ---------------------------------------------------------------------------------------- a slow reference


def enlarge(x, size):
    """Nearest neighbour, cell by cell."""
    rows = [
        [x[:, :, i * x.shape[2] // size[0], j * x.shape[3] // size[1]] for j in range(size[1])] for i in range(size[0])
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def reference(module, inputs, slope=0.1):
    """The neck without norms, written out."""

    def conv(layer, x, act=True):
        layer = layer.conv
        x = F.conv2d(x, layer.weight, layer.bias, stride=layer.stride, padding=layer.kernel_size[0] // 2)
        return F.leaky_relu(x, slope) if act else x

    inputs = inputs[module.start_level : module.end_level + 1]
    laterals = [conv(layer, x) for layer, x in zip(module.lateral_convs, inputs, strict=True)]
    levels = list(laterals)
    for i in reversed(range(len(levels) - 1)):
        levels[i] = levels[i] + enlarge(levels[i + 1], levels[i].shape[2:])
        if module.merge == 'sequential':
            levels[i] = conv(module.merge_convs[i], levels[i])
    if module.merge == 'after':
        levels = [conv(layer, x) for layer, x in zip(module.merge_convs, levels, strict=True)]
    x = {'on_input': inputs[-1], 'on_lateral': laterals[-1], 'on_output': levels[-1]}.get(module.add_extra_convs)
    for i in range(module.num_outs - len(levels)):
        if x is None:
            levels.append(levels[-1][:, :, ::2, ::2])
        else:
            x = conv(module.extra_convs[i], x)
            levels.append(x)
    outs = []
    for context, x in zip(module.contexts, levels, strict=True):
        shared = conv(context.shared, x)
        view7 = conv(context.view7, conv(context.middle, shared), act=False)
        outs.append(torch.cat([conv(context.view3, x, False), conv(context.view5, shared, False), view7], 1).clamp(0))
    return tuple(outs)


@pytest.mark.parametrize('sizes', [SIZES, [(8, 8), (4, 4), (2, 2)], [(5, 5)] * 3, [(9, 3), (4, 7), (11, 2)]], ids=str)
@pytest.mark.parametrize('extra', EXTRA)
@pytest.mark.parametrize('merge', MERGES)
def test_the_formula(merge, extra, sizes):
    module = neck(num_outs=5, merge=merge, add_extra_convs=extra, norm_cfg=None).double()
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    inputs = maps(sizes=sizes, dtype=torch.float64)
    assert_close(module(inputs), reference(module, inputs))


def test_the_orders_differ():
    module, other = neck(norm_cfg=None), neck(norm_cfg=None, merge='after')
    other.load_state_dict(module.state_dict(), strict=False)
    inputs = maps()
    assert not torch.allclose(module(inputs)[0], other(inputs)[0])


@pytest.mark.parametrize(
    ('start', 'end', 'levels', 'num_outs'), [(1, -1, 3, 5), (1, 2, 2, 2), (0, 3, 4, 4), (2, 2, 1, 1)]
)
def test_start_and_end_level(start, end, levels, num_outs):
    widths, sizes = (3, 4, 6, 10), [(16, 12), (8, 6), (4, 3), (2, 2)]
    module = neck(widths, 8, num_outs, norm_cfg=None, start_level=start, end_level=end, add_extra_convs='on_input')
    inputs = maps(widths, sizes)
    assert len(module.lateral_convs) == levels
    outs = module(inputs)
    assert_close(outs, reference(module, inputs))
    assert outs[0].shape[2:] == sizes[start]
    total(outs).backward()
    assert unused(module) == []


# --------------------------------------------------------------------------------------------- the seed's bugs


def test_sizes_that_are_no_multiple():
    """559 x 1024 padded to nothing: 69 cells, then 34, then 17 (the seed's notes)."""
    sizes = [(69, 128), (34, 64), (17, 32)]
    outs = neck()(maps(sizes=sizes, images=1))
    assert [out.shape[2:] for out in outs] == sizes


@pytest.mark.parametrize('merge', MERGES)
@pytest.mark.parametrize('needs_grad', [True, False])
def test_backward_under_anomaly_detection(merge, needs_grad):
    """`+=` on what LeakyReLU had saved stopped the seed's backward pass."""
    module = neck(merge=merge, act_cfg=dict(type='LeakyReLU', negative_slope=0.1, inplace=True))
    inputs = maps(needs_grad=needs_grad)
    with torch.autograd.detect_anomaly(check_nan=True):
        found = gradients(module, inputs)
    assert all(value.isfinite().all() for value in found.values())


@pytest.mark.parametrize('merge', MERGES)
@pytest.mark.parametrize('extra', EXTRA)
def test_nothing_is_changed_in_place(merge, extra):
    module = neck(merge=merge, add_extra_convs=extra, num_outs=5)
    seen = []
    for part in module.modules():
        if not list(part.children()):
            part.register_forward_hook(lambda _, inputs, out: seen.extend([*inputs, out]))
    inputs = maps()
    before = copy.deepcopy(inputs)
    module(inputs)
    assert len(seen) > 50
    assert all(value._version == 0 for value in seen)
    assert_close(inputs, before, rtol=0, atol=0)


@pytest.mark.parametrize('merge', MERGES)
def test_a_coarse_cell_is_enlarged(merge):
    """With the seed's `scale_factor=1` maps of equal size pass, and nothing is ever enlarged."""
    module = neck((4, 4), norm_cfg=None, merge=merge)
    for parameter in module.parameters():
        nn.init.constant_(parameter, float(parameter.dim() > 1))
    nothing, coarse = torch.zeros(1, 4, 24, 24), torch.zeros(1, 4, 12, 12)
    coarse[0, 0, 6, 6] = 1
    fine = module((nothing, coarse))[0][0, 0] > 0
    # A cell becomes 2 x 2, the merge conv adds one on each side, and so does the 3x3 view.
    expected = torch.zeros(24, 24, dtype=torch.bool)
    expected[10:16, 10:16] = True
    assert_close(fine, expected)


# -------------------------------------------------------------------------------------- convs, norms, activation


@pytest.mark.parametrize(
    ('norm', 'kind', 'number'), [(dict(type='BN'), nn.BatchNorm2d, 20), (GN, nn.GroupNorm, 20), (None, nn.Module, 0)]
)
def test_norms(norm, kind, number):
    module = neck(norm_cfg=norm)
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d | nn.GroupNorm)]
    assert len(norms) == number
    assert all(isinstance(part, kind) for part in norms)
    gradients(module, maps())
    assert unused(module) == []
    assert all(part.conv.bias is None for part in module.lateral_convs) == (norm is not None)


def test_sync_bn_is_built():
    module = build(dict(in_channels=[4, 6], out_channels=8, num_outs=3, norm_cfg=dict(type='SyncBN')))
    norms = [part for part in module.modules() if isinstance(part, nn.SyncBatchNorm)]
    assert len(norms) == 2 + 1 + 3 * 5
    assert all(out.isfinite().all() for out in module.eval()(maps((4, 6), SIZES[:2])))


def test_a_norm_without_gradient():
    module = neck(norm_cfg=dict(type='BN', requires_grad=False))
    total(module(maps())).backward()
    assert unused(module) == []
    assert module.contexts[0].view3.bn.weight.grad is None


@pytest.mark.parametrize('kind', ['DCN', 'DCNv2'])
def test_deformable_convs(kind):
    module = neck(conv_cfg=dict(type=kind), num_outs=4, add_extra_convs=True)
    module.init_weights()
    found = gradients(module, maps(sizes=LARGE))
    assert unused(module) == []
    assert all(value.isfinite().all() for value in found.values())
    offsets = {name for name in found if 'conv_offset' in name}
    assert len(offsets) == 2 * (3 + 2 + 1 + 4 * 5)
    assert any(found[name].abs().sum() > 0 for name in offsets)


def test_deformable_convs_start_as_plain_ones():
    plain, deformable = (
        neck(num_outs=4, add_extra_convs=True).eval(),
        neck(num_outs=4, add_extra_convs=True, conv_cfg=dict(type='DCN')),
    )
    deformable.init_weights()
    missing = deformable.eval().load_state_dict(plain.state_dict(), strict=False)
    assert missing.unexpected_keys == []
    assert all('conv_offset' in name for name in missing.missing_keys)
    inputs = maps(sizes=LARGE)
    assert_close(deformable(inputs), plain(inputs))


@pytest.mark.parametrize(
    ('channels', 'kind', 'slope'), [(8, 'LeakyReLU', 0.1), (64, 'LeakyReLU', 0.1), (68, 'ReLU', 0)]
)
def test_the_slope_is_that_of_retinaface(channels, kind, slope):
    module = neck((4, 6), channels, 3, add_extra_convs=True)
    acts = [part.activate for part in module.modules() if hasattr(part, 'activate')]
    assert len(acts) == 2 + 1 + 1 + 3 * 2
    assert all(type(act).__name__ == kind and getattr(act, 'negative_slope', 0) == slope for act in acts)
    assert not any(act.inplace for act in acts)


def test_another_activation():
    acts = [part.activate for part in neck(act_cfg=dict(type='SiLU')).modules() if hasattr(part, 'activate')]
    assert acts
    assert all(isinstance(act, nn.SiLU) for act in acts)


def test_init_cfg_holds_for_every_conv():
    module = neck(num_outs=5, add_extra_convs=True, init_cfg=dict(type='Constant', layer='Conv2d', val=0.25))
    module.init_weights()
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    assert len(convs) == 3 + 2 + 2 + 5 * 5
    assert all((conv.weight == 0.25).all() for conv in convs)


def test_weights_of_a_file_stay(tmp_path):
    saved = neck()
    torch.save(saved.state_dict(), tmp_path / 'neck.pth')
    module = neck(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'neck.pth')))
    module.init_weights()
    assert_close(module.state_dict(), saved.state_dict(), rtol=0, atol=0)


# --------------------------------------------------------------------------------------- what must not matter


@pytest.mark.parametrize('needs_grad', [True, False])
@pytest.mark.parametrize('merge', MERGES)
@pytest.mark.parametrize('conv', [None, dict(type='DCNv2')])
def test_checkpointing_changes_nothing(merge, needs_grad, conv):
    options = dict(merge=merge, num_outs=4, add_extra_convs='on_lateral', conv_cfg=conv)
    plain, saving = neck(**options), neck(with_cp=True, **options)
    saving.load_state_dict(plain.state_dict())
    first = maps(needs_grad=needs_grad)
    second = tuple(x.detach().clone().requires_grad_(needs_grad) for x in first)
    assert_close(gradients(saving, second), gradients(plain, first))
    assert_close([x.grad for x in second], [x.grad for x in first])
    assert_close(saving.state_dict(), plain.state_dict())
    with torch.no_grad():
        assert_close(saving.eval()(second), plain.eval()(first))


def test_checkpointing_computes_every_module_again():
    module, seen = neck(num_outs=4, with_cp=True, add_extra_convs=True), []
    convs = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    for conv in convs:
        conv.register_forward_hook(lambda *_: seen.append(1))
    total(module(maps())).backward()
    assert len(seen) == 2 * len(convs)


@pytest.mark.parametrize('extra', EXTRA)
@pytest.mark.parametrize('merge', MERGES)
@pytest.mark.parametrize('num_outs', [3, 4, 6])
def test_extra_levels(merge, extra, num_outs):
    module = neck(num_outs=num_outs, merge=merge, add_extra_convs=extra)
    assert len(module.extra_convs) == (num_outs - 3 if extra else 0)
    outs = module(maps())
    assert [out.shape[2:] for out in outs] == [*SIZES, (2, 2), (1, 1), (1, 1)][:num_outs]
    total(outs).backward()
    assert unused(module) == []


@pytest.mark.parametrize('merge', MERGES)
def test_images_of_a_batch_know_nothing_of_each_other(merge):
    module = neck(merge=merge, num_outs=4).eval()
    inputs = maps(images=3)
    outs = module(inputs)
    for i in range(3):
        assert_close(module(tuple(x[i : i + 1] for x in inputs)), tuple(out[i : i + 1] for out in outs))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    module, inputs = neck(num_outs=5, add_extra_convs=True, norm_cfg=GN), maps()
    exact = module(inputs)
    with torch.autocast('cpu', dtype):
        rough = module(inputs)
        found = gradients(module, inputs)
    assert_close([x.float() for x in rough], list(exact), atol=0.15, rtol=0.1)
    assert all(value.isfinite().all() for value in found.values())
    weights = copy.deepcopy(module).to(dtype)
    outs = weights(tuple(x.to(dtype) for x in inputs))
    assert all(out.dtype == dtype and out.isfinite().all() for out in outs)


def test_state_dict_round_trip():
    options = dict(num_outs=5, add_extra_convs='on_output', merge='after')
    module, other = neck(**options), neck(**options)
    gradients(module, maps())
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    inputs = maps()
    assert_close(other.eval()(inputs), module.eval()(inputs), rtol=0, atol=0)


@pytest.fixture
def fresh_compiler():
    """Graphs of other tests count against the limit of recompilations."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures('fresh_compiler')
@pytest.mark.parametrize(
    ('backend', 'options'),
    [
        ('eager', dict()),
        ('eager', dict(merge='after', add_extra_convs='on_input')),
        ('eager', dict(with_cp=True, norm_cfg=GN)),
        # Run as it is, the graph's checkpoint sees the counter of batch norms change under it: torch 2.13.
        ('aot_eager', dict(with_cp=True)),
    ],
    ids=str,
)
def test_one_graph(backend, options):
    module = neck((4, 6), num_outs=3, **options)
    twin = copy.deepcopy(module)
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    inputs = maps((4, 6), SIZES[:2])
    outs, expected = compiled(inputs), module(inputs)
    assert_close(outs, expected)
    total(outs).backward()
    total(expected).backward()
    for (name, value), other in zip(module.named_parameters(), twin.parameters(), strict=True):
        assert_close(other.grad, value.grad, msg=name)
    assert_close(twin.state_dict(), module.state_dict())


@pytest.mark.usefixtures('fresh_compiler')
def test_one_graph_for_any_size():
    module = neck((4, 6), num_outs=3).eval()
    compiled = torch.compile(module, fullgraph=True, backend='eager', dynamic=True)
    for sizes in (SIZES, [(69, 30), (34, 15)]):
        inputs = maps((4, 6), sizes[:2])
        assert_close(compiled(inputs), module(inputs))


# ------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_channels=[]), 'must list the channels'),
        (dict(in_channels=64), 'in_channels=64 must list the channels'),
        (dict(in_channels=[4, 0]), 'must list the channels'),
        (dict(in_channels=[4, 'x']), 'must list the channels'),
        (dict(out_channels=66), 'out_channels=66 must be a multiple of 4'),
        (dict(out_channels=0), 'must be a multiple of 4'),
        (dict(out_channels=8.0), 'must be a multiple of 4'),
        (dict(norm_cfg=dict(type='GN', num_groups=32), out_channels=64), 'num_groups=32, which must divide the 16'),
        (dict(merge='before'), r"merge='before', allowed are \('sequential', 'after'\)"),
        (dict(add_extra_convs='on_top'), r"add_extra_convs='on_top', allowed are \(False, True, 'on_input'"),
        (dict(add_extra_convs=1), 'add_extra_convs=1, allowed are'),
        (dict(start_level=3), 'start_level=3 and end_level=-1 must be levels of the 3 feature maps'),
        (dict(start_level=-1), 'start_level=-1 and'),
        (dict(end_level=3), 'end_level=3 must be levels'),
        (dict(start_level=2, end_level=1), 'must be levels'),
        (dict(end_level=-2), 'must be levels'),
        (dict(num_outs=2), 'num_outs=2 for 3 levels; extra levels are added, none is dropped'),
        (dict(num_outs=3, end_level=1), 'num_outs=3 for 2 levels; extra levels need end_level=-1'),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=f'FPNSSH: .*{message}'):
        FPNSSH(**{'in_channels': list(WIDTHS), 'out_channels': 8, 'num_outs': 3, **options})


@pytest.mark.parametrize('number', [2, 4])
def test_another_number_of_maps(number):
    inputs = (*maps(), torch.zeros(1, 4, 2, 2))[:number]
    with pytest.raises(ValueError, match=rf'FPNSSH: {number} feature maps, but in_channels=\(4, 6, 10\) names 3'):
        neck()(inputs)


def test_a_config_as_of_fpn():
    """What RetinaNet's config says of its FPN is understood."""
    module = build(dict(in_channels=[4, 6, 10], out_channels=8, start_level=1, add_extra_convs='on_input', num_outs=5))
    assert len(module(maps())) == 5
    assert len(module.lateral_convs) == 2
