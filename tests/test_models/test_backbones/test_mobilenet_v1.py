"""MobileNet as RetinaFace uses it: its layers, its sizes, and what freezing means."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from torch import nn
from torch.testing import assert_close

from mmdet_ext.models.backbones import MobileNetV1

# (channels before, channels after, stride) of every separable conv at a quarter of the width.
LAYERS = [
    (8, 16, 1),
    (16, 32, 2),
    (32, 32, 1),
    (32, 64, 2),
    (64, 64, 1),
    (64, 128, 2),
    *[(128, 128, 1)] * 5,
    (128, 256, 2),
    (256, 256, 1),
]
GN = dict(type='GN', num_groups=4)


def images(number=2, size=(64, 96)):
    return torch.randn(number, 3, *size)


def learn(model, size=(64, 96)):
    model.zero_grad()
    sum(out.square().mean() for out in model(images(size=size))).backward()
    return [name for name, value in model.named_parameters() if value.requires_grad and value.grad is None]


def running(module):
    return {name: value.clone() for name, value in module.named_buffers()}


def test_the_layers_of_retinaface():
    model = MobileNetV1()
    convs = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    found = [(conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0], conv.groups) for conv in convs]
    expected = [(3, 8, 3, 2, 1)]
    for before, after, stride in LAYERS:
        expected += [(before, before, 3, stride, before), (before, after, 1, 1, 1)]
    assert found == expected
    assert all(conv.bias is None for conv in convs)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    acts = [part for part in model.modules() if isinstance(part, nn.LeakyReLU)]
    assert len(norms) == len(acts) == len(convs)
    assert {act.negative_slope for act in acts} == {0.1}


def test_number_of_parameters():
    separable = sum(9 * before + 2 * before + before * after + 2 * after for before, after, _ in LAYERS)
    number = sum(parameter.numel() for parameter in MobileNetV1().parameters())
    assert number == 3 * 8 * 9 + 2 * 8 + separable == 213072
    # With the classifier of 1000 classes 4.2 million, as in the paper's table 8.
    full = sum(parameter.numel() for parameter in MobileNetV1(1.0).parameters())
    assert full + 1024 * 1000 + 1000 == 4231976


@pytest.mark.parametrize(
    ('size', 'cells'), [((64, 96), [(8, 12), (4, 6), (2, 3)]), ((69, 33), [(9, 5), (5, 3), (3, 2)])]
)
def test_three_levels_of_strides_8_16_32(size, cells):
    outs = MobileNetV1()(images(size=size))
    assert isinstance(outs, tuple)
    assert [out.shape for out in outs] == [(2, width, *cell) for width, cell in zip((64, 128, 256), cells, strict=True)]


@pytest.mark.parametrize('indices', [(0,), (2,), (1, 3), (0, 1, 2, 3, 4)])
def test_only_what_is_asked_for_is_built(indices):
    model = MobileNetV1(out_indices=indices)
    outs = model(images())
    assert [(out.shape[1], 64 // out.shape[2]) for out in outs] == [(16 * 2**i, 2 ** (i + 1)) for i in indices]
    assert len(model.stages) == indices[-1] + 1
    assert learn(model) == []


@pytest.mark.parametrize(('factor', 'widths'), [(1.0, (256, 512, 1024)), (0.5, (128, 256, 512)), (0.3, (80, 152, 304))])
def test_width(factor, widths):
    model = MobileNetV1(factor).eval()
    outs = model(images(1))
    assert tuple(out.shape[1] for out in outs) == widths
    assert all(width % 8 == 0 for width in widths)


def test_stages_follow_each_other():
    model = MobileNetV1(out_indices=(0, 2)).eval()
    x = images()
    stem = model.stem(x)
    assert_close(model(x), (model.stages[0](stem), model.stages[2](model.stages[1](model.stages[0](stem)))))


@pytest.mark.parametrize('frozen', range(-1, 6))
def test_frozen_stages(frozen):
    model = MobileNetV1(frozen_stages=frozen).train()
    parts = [model.stem, *model.stages]
    for i, part in enumerate(parts):
        assert {parameter.requires_grad for parameter in part.parameters()} == {i > frozen}
    before = running(model)
    if frozen < 5:
        assert learn(model) == []
    else:
        model(images())
    for i, part in enumerate(parts):
        name = 'stem.' if i == 0 else f'stages.{i - 1}.'
        pairs = [(before[key], value) for key, value in model.named_buffers() if key.startswith(name)]
        assert pairs
        assert {torch.equal(*pair) for pair in pairs} == {i <= frozen}
        assert part.training == (i > frozen)


def test_frozen_before_the_first_call_of_train():
    """Optimizers are built by then."""
    model = MobileNetV1(frozen_stages=1)
    assert not any(value.requires_grad for part in (model.stem, model.stages[0]) for value in part.parameters())


def test_norm_eval():
    model = MobileNetV1(norm_eval=True).train()
    before = running(model)
    assert learn(model) == []
    assert_close(running(model), before, rtol=0, atol=0)
    assert model.training
    assert not any(part.training for part in model.modules() if isinstance(part, nn.BatchNorm2d))


def test_train_returns_the_model_and_eval_ends_it():
    model = MobileNetV1(frozen_stages=0)
    assert model.train() is model
    assert model.stages.training
    assert not model.eval().stages.training


@pytest.mark.parametrize(('norm', 'kind'), [(GN, nn.GroupNorm), (dict(type='SyncBN'), nn.SyncBatchNorm), (None, None)])
def test_norms(norm, kind):
    model = MobileNetV1(norm_cfg=norm)
    norms = [part for part in model.modules() if isinstance(part, nn.GroupNorm | nn.SyncBatchNorm | nn.BatchNorm2d)]
    assert len(norms) == (27 if kind else 0)
    assert kind is None or all(isinstance(part, kind) for part in norms)
    assert all(out.isfinite().all() for out in model.eval()(images()))


@pytest.mark.parametrize('act', [dict(type='ReLU6'), dict(type='SiLU'), None])
def test_activation(act):
    model = MobileNetV1(act_cfg=act)
    found = {type(part).__name__ for part in model.modules() if not list(part.children())}
    assert found == {'Conv2d', 'BatchNorm2d', *([act['type']] if act else [])}
    assert learn(model) == []


def test_init_cfg_holds_for_the_stem_too():
    model = MobileNetV1(init_cfg=dict(type='Constant', layer='Conv2d', val=0.25))
    model.init_weights()
    convs = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert all((conv.weight == 0.25).all() for conv in convs)


def test_weights_start_for_the_slope_at_hand():
    """Kaiming over the outputs, gain of a leaky ReLU: the squared weights of a 1x1 conv have the mean 2 / 1.01 / C."""
    torch.manual_seed(0)
    model = MobileNetV1()
    model.init_weights()
    weight = model.stages[4][1].pointwise_conv.conv.weight
    assert_close(weight.square().mean(), torch.tensor(2 / (1 + 0.1**2) / 256), rtol=0.03, atol=0)


def test_weights_of_a_file_stay(tmp_path):
    saved = MobileNetV1()
    torch.save(saved.state_dict(), tmp_path / 'backbone.pth')
    model = MobileNetV1(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth')))
    model.init_weights()
    assert_close(model.state_dict(), saved.state_dict(), rtol=0, atol=0)


def test_images_of_a_batch_know_nothing_of_each_other():
    model, x = MobileNetV1().eval(), images(3)
    outs = model(x)
    assert_close(model(x[1:2]), tuple(out[1:2] for out in outs))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    model, x = MobileNetV1(norm_cfg=GN), images()
    exact = model(x)
    with torch.autocast('cpu', dtype):
        rough = model(x)
        assert learn(model) == []
    assert_close([out.float() for out in rough], list(exact), atol=0.15, rtol=0.1)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_one_graph():
    torch._dynamo.reset()
    model = MobileNetV1(out_indices=(0, 1)).eval()
    x = images()
    assert_close(torch.compile(model, fullgraph=True, backend='eager')(x), model(x))
    torch._dynamo.reset()


def test_from_a_config():
    model = MODELS.build(ConfigDict(type='MobileNetV1', _scope_='mmdet', out_indices=[2, 3]))
    assert model.out_indices == (2, 3)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(widen_factor=0), 'widen_factor must be above 0, got 0'),
        (dict(widen_factor=float('nan')), 'widen_factor must be above 0, got nan'),
        (dict(out_indices=()), r'out_indices=\(\) must name some of the stages 0 to 4'),
        (dict(out_indices=(2, 5)), r'out_indices=\(2, 5\) must name'),
        (dict(out_indices=(-1,)), r'out_indices=\(-1,\) must name'),
        (dict(out_indices=(3, 2)), '.*in ascending order'),
        (dict(out_indices=(2, 2)), '.*in ascending order'),
        (dict(frozen_stages=6), r'frozen_stages=6 must be -1 \(none\)'),
        (dict(frozen_stages=-2), 'frozen_stages=-2 must be'),
        (dict(frozen_stages='all'), "frozen_stages='all' must be"),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=f'MobileNetV1: {message}'):
        MobileNetV1(**options)
