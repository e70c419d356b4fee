"""The first module with a value that is not finite, in nets that break at a known place."""

import math

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from mmdet_ext.engine.nonfinite_search import Event, describe, image_names, nonfinite_weights, search_nonfinite
from tests.test_engine.monitor_case import Breaker, Toy, batch, untouched

IMAGES = ['a/0.png', 'a/1.png', 'a/2.png']


def search(model, data):
    found = search_nonfinite(model, data['data_samples'], lambda: model(**data, mode='loss'))
    assert untouched(model)
    return found


def test_module_and_image():
    found = search(Toy(), batch(1, size=3))
    assert found.first == Event('breaker', 'Breaker', 'output', 48, 1, 0, (1,))
    assert found.first_nan is None
    assert found.weights == found.boxes == ()
    assert math.isnan(found.result['loss_a'])
    assert describe(found, IMAGES) == (
        "The first module to give one is breaker (Breaker): 1 NaN of 48 values, of '1.png'; what went into it was "
        'finite.'
    )


def test_values_from_between_modules():
    found = search(Toy(between=True), batch(0, 2, size=3))
    assert found.first == Event('stem', 'Conv2d', 'input', 48, 2, 0, (0, 2))
    assert describe(found, IMAGES) == (
        "The first module to meet one is stem (Conv2d): 2 NaN of 48 values, of '0.png', '2.png' in its input, which no "
        'module before has put out.'
    )


def test_an_infinity_that_may_be_meant():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.mask, self.act, self.inner = nn.LogSigmoid(), nn.ReLU(), nn.Sequential(nn.Identity())

        def forward(self, x):
            x = self.act(self.mask(x) * math.inf)
            return self.inner(x - x / 2)

    net = Net()
    # -inf, then relu makes zeros of it, whose difference is finite.
    found = search_nonfinite(net, [], lambda: net(torch.ones(2, 2)))
    assert (found.first.module, found.first.side, found.first.infinite) == ('act', 'input', 4)
    assert found.first_nan is None
    net.act = nn.Identity()
    found = search_nonfinite(net, [], lambda: net(torch.ones(2, 2)))
    assert (found.first.module, found.first_nan.module, found.first_nan.nan) == ('act', 'inner', 4)
    assert describe(found, []) == (
        'The first module to meet one is act (Identity): 4 infinite of 4 values in its input, which no module before '
        'has put out. If that infinity is meant to be there: The first module to meet one is inner (Sequential): 4 NaN '
        'of 4 values in its input, which no module before has put out.'
    )


def test_broken_images_boxes_and_weights_are_said():
    model, data = Toy(), batch(size=3)
    data['inputs'][2, 0, 1, 1] = math.inf
    data['data_samples'][0].gt_instances.bboxes[0, 3] = math.nan
    with torch.no_grad():
        model.head.bias.fill_(math.nan)
        model.norm.running_mean[1] = math.inf
    broken = nonfinite_weights(model)
    found = search(model, data)
    assert found.weights == broken == ('head.bias', 'norm.running_mean')
    assert found.boxes == (0,)
    assert (found.first.module, found.first.side, found.first.images) == ('', 'input', (2,))
    assert describe(found, IMAGES) == (
        "Ground truth boxes are not finite in 'a/0.png'. Weights are not finite already: 'head.bias', "
        "'norm.running_mean'; an update before this step broke them (a finite loss can have gradients that are not: "
        'clip them, or lower the learning rate). The images themselves, as they come from the data preprocessor, have '
        "1 infinite of 48 values, of '2.png'. If that infinity is meant to be there: The first module to give one is "
        "breaker (Breaker): 1 NaN of 48 values, of '2.png'."
    )


def test_a_module_inside_of_another_is_named():
    net = nn.Sequential(nn.Sequential(nn.Identity(), Breaker(-math.inf)), nn.Identity())
    found = search_nonfinite(net, batch(1)['data_samples'], lambda: net(batch(1)['inputs']))
    assert found.first == Event('0.1', 'Breaker', 'output', 32, 0, 1, (1,))
    assert found.first_nan is None


def test_nothing_found():
    found = search(Toy(), batch())
    assert found.first is None
    assert describe(found, IMAGES).startswith('No module has a value that is not finite: look into the code')


def test_batches_of_one_and_tensors_without_a_batch_axis():
    assert search(Toy(), batch(0, size=1)).first.images == (0,)
    net, samples = nn.Identity(), batch()['data_samples']
    for values, images in (([[1.0], [math.nan]], (1,)), ([1.0, math.nan], ()), ([[math.nan]] * 3, ())):
        assert search_nonfinite(net, samples, lambda values=values: net(torch.tensor(values))).first.images == images


def test_hooks_go_when_the_step_fails():
    model = Toy()

    def step():
        raise RuntimeError('stop')

    with pytest.raises(RuntimeError, match='stop'):
        search_nonfinite(model, [], step)
    assert untouched(model)


def test_names_of_images():
    samples = [
        DetDataSample(metainfo={'img_path': 'a.png', 'img_id': 3}),
        DetDataSample(metainfo={'img_id': 0}),
        DetDataSample(gt_instances=InstanceData()),
    ]
    assert image_names(samples) == ['a.png', '0', 'an image without img_path and img_id in its metainfo']
